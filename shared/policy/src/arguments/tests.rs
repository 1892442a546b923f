use cedar_policy_core::ast::RestrictedExpr;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::shape::of_input;

fn input() -> Record {
    of_input(&json!({ "type": "object", "required": ["path"], "properties": {
        "path": { "type": "string" }, "count": { "type": "integer" }, "ratio": { "type": "number" },
        "dry": { "type": "boolean" }, "tags": { "type": "array", "items": { "type": "string" } },
        "to": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } } }))
}

fn said(mut arguments: Value) -> String {
    if let Value::Object(entries) = &mut arguments {
        entries.entry("path").or_insert(json!("p"));
    }
    match to_cedar(&input(), Some(&arguments)) {
        Ok(said) => said.to_string(),
        Err(denied) => denied.to_string(),
    }
}

#[test]
fn values_are_said_as_their_schema_declares_them() {
    for (arguments, expected) in [
        (json!({ "path": "a\"b" }), r#""a\"b""#),
        (json!({ "count": 5.0 }), "5"),
        (json!({ "ratio": 5 }), r#"decimal("5.0")"#),
        (json!({ "ratio": -1.00005 }), r#"decimal("-1.0001")"#),
        (json!({ "ratio": 1e-30 }), r#"decimal("0.0000")"#),
        (json!({ "tags": ["a", null, "b"] }), r#"["a", "b"]"#),
        (json!({ "to": { "city": "Ulm", "more": [1, "x"] } }), r#"to: {city: "Ulm"}"#),
    ] {
        let said = said(arguments);
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert_eq!(said(json!({ "count": null, "unknown": [1, "a"] })), said(json!({})));
}

#[test]
fn what_contradicts_its_schema_is_named() {
    for (arguments, expected) in [
        (json!({ "path": 5 }), "`arguments.path` is not a string, as the tool's schema says"),
        (json!({ "path": null }), "`arguments.path` is required by the tool's schema"),
        (json!({ "count": 1.5 }), "`arguments.count` is not an integer of 64 bits"),
        (json!({ "count": "1" }), "`arguments.count` is not an integer, as the tool's schema says"),
        (json!({ "ratio": 1e15 }), "`arguments.ratio` is not between -922337203685477 and 922337203685477"),
        (json!({ "tags": ["a", 1] }), "`arguments.tags[1]` is not a string, as the tool's schema says"),
        (json!({ "tags": vec!["a"; 4097] }), "`arguments.tags` has more than 4096 items"),
        (json!({ "to": {} }), "`arguments.to.city` is required by the tool's schema"),
        (json!({ "Path": "q" }), "`arguments.Path` is taken for `path` by some servers"),
        (json!({ "to": { "city": "Ulm", "CITY": "Bonn" } }), "`arguments.to.CITY` is taken for `city` by some servers"),
        (json!([]), "`arguments` is not an object"),
    ] {
        assert_eq!(said(arguments), expected);
    }
}

#[test]
fn what_is_too_deep_too_big_or_out_of_range_is_refused() {
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    assert!(admit(&nested(64)).is_ok());
    let told = |arguments: &Value| admit(arguments).unwrap_err().to_string();
    assert_eq!(told(&nested(65)), "the arguments are nested deeper than 64 levels");
    assert_eq!(told(&nested(100)), "the arguments are nested deeper than 64 levels");
    assert!(admit(&json!({ "a": "x".repeat((1 << 20) - 1) })).is_ok());
    assert_eq!(told(&json!({ "a": "x".repeat(1 << 20) })), "the arguments hold more than 1048576 bytes of text");
    assert_eq!(told(&json!(vec![0; 20_001])), "the arguments hold more than 20000 values");
    for (beyond, spelled) in [("9223372036854775808", "9223372036854775808"), ("1e300", "1e+300"), ("-1e19", "-1e+19")]
    {
        let arguments = mcp::json::strict(&format!("[{beyond}]")).unwrap();
        assert!(told(&arguments).contains(spelled), "{}", told(&arguments));
    }
    assert!(admit(&json!([i64::MAX, i64::MIN, 1.5e18])).is_ok());
}

/// Any JSON at all, with the names the schema has among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop_oneof![
            Just("path"),
            Just("count"),
            Just("ratio"),
            Just("dry"),
            Just("tags"),
            Just("to"),
            Just("city"),
            Just("")
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_refused_or_said_as_a_value_that_cedar_makes_too(arguments in any_json()) {
        let _ = admit(&arguments);
        if let Ok(said) = to_cedar(&input(), Some(&arguments)) {
            let expression = RestrictedExpr::from(said.clone());
            let evaluator = RestrictedEvaluator::new(Extensions::all_available());
            prop_assert_eq!(evaluator.interpret(expression.as_borrowed()).unwrap(), said);
        }
    }
}
