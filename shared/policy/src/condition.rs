//! What of a policy's condition depends on what? A condition as the connectives that short-circuit, over leaves that
//! Cedar evaluates.
//!
//! Leaves without the context have one value for a principal and a resource, whatever is called with: they are evaluated
//! once. Leaves that occur in many policies are evaluated once for all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{
    Policy,
    pst::{BinaryOp, Clause, Expr, UnaryOp, Var},
};
use cedar_policy_core::{
    ast::{self, Literal, SlotEnv, ValueKind},
    evaluator::Evaluator,
};

/// A condition; what stands in it are indices of [`Leaves`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Leaf(usize),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    If(Box<[Condition; 3]>),
}

/// The leaves of a set of policies, each kept once.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    leaves: Vec<Leaf>,
    by_text: BTreeMap<String, usize>,
    /// What they read of the arguments.
    reads: Reads,
}

/// Which arguments conditions read: only those have to be said.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    names: BTreeSet<String>,
    /// The arguments as one, so that all count.
    is_whole: bool,
}

/// What is read of the context: a bit for each of its attributes, so that many conditions are looked through fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked(u8);

/// An expression Cedar evaluates to a boolean.
#[derive(Debug)]
pub(crate) struct Leaf {
    expression: ast::Expr,
    /// Whether it occurs more than once.
    pub(crate) is_shared: bool,
    /// What it reads of the context.
    pub(crate) context: Asked,
    /// Whether the action is in it.
    pub(crate) reads_action: bool,
    /// Whether the principal, the action or the resource is in it.
    pub(crate) reads_entities: bool,
    /// The argument whose presence it asks for, if that is all it asks.
    pub(crate) has_argument: Option<String>,
    /// Whether it can fail although it was validated: arithmetic can, by overflow.
    pub(crate) may_fail: bool,
}

/// The value of a leaf, or why it has none.
pub(crate) type Known = Result<bool, String>;

/// What a condition may come to while some leaves are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) is_true: bool,
    pub(crate) is_false: bool,
    pub(crate) is_error: bool,
}

impl Leaves {
    /// The condition of `policy`, its leaves added to these.
    ///
    /// # Errors
    /// Cedar cannot take the policy apart, which is a defect; the text says where.
    pub(crate) fn condition(&mut self, policy: &Policy) -> Result<Condition, String> {
        let policy = policy.to_pst().map_err(|error| error.to_string())?;
        let mut clauses = Vec::new();
        for clause in policy.body().clauses() {
            clauses.push(match clause {
                Clause::When(expr) => self.take(expr),
                Clause::Unless(expr) => Condition::Not(Box::new(self.take(expr))),
            });
        }
        Ok(if clauses.is_empty() { Condition::Always } else { Condition::And(clauses) })
    }

    pub(crate) fn leaf(&self, index: usize) -> Option<&Leaf> {
        self.leaves.get(index)
    }

    /// How many there are: one more than the last index.
    pub(crate) const fn count(&self) -> usize {
        self.leaves.len()
    }

    /// Whether any condition reads the argument `name`.
    pub(crate) fn reads(&self, name: &str) -> bool {
        self.reads.is_whole || self.reads.names.contains(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter()
    }

    fn take(&mut self, expr: &Expr) -> Condition {
        match expr {
            Expr::BinaryOp { op: BinaryOp::And, left, right } => {
                Condition::And(vec![self.take(left), self.take(right)])
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => Condition::Or(vec![self.take(left), self.take(right)]),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => Condition::Not(Box::new(self.take(expr))),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                Condition::If(Box::new([self.take(cond), self.take(then_expr), self.take(else_expr)]))
            }
            leaf => Condition::Leaf(self.keep(leaf)),
        }
    }

    fn keep(&mut self, expr: &Expr) -> usize {
        let text = expr.to_string();
        if let Some(&index) = self.by_text.get(&text) {
            if let Some(leaf) = self.leaves.get_mut(index) {
                leaf.is_shared = true;
            }
            return index;
        }
        let index = self.leaves.len();
        self.leaves.push(Leaf {
            // not parsed: with a place in a text at each of its parts it takes longer to evaluate
            expression: expr.clone().into(),
            is_shared: false,
            context: Asked::of(expr),
            reads_action: holds(expr, &|part| matches!(part, Expr::Var(Var::Action))),
            reads_entities: holds(expr, &|part| matches!(part, Expr::Var(var) if *var != Var::Context)),
            has_argument: has_argument(expr),
            may_fail: holds(expr, &is_arithmetic),
        });
        add_arguments(expr, &mut self.reads);
        self.by_text.insert(text, index);
        index
    }
}

impl Asked {
    /// The context as one, so that all of it counts.
    const WHOLE: Self = Self(u8::MAX);

    /// Whether the attribute `name` is read.
    pub(crate) fn contains(self, name: &str) -> bool {
        self.0 & Self::attribute(name).0 != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This, and what `other` reads.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What `expr` reads.
    fn of(expr: &Expr) -> Self {
        match expr {
            Expr::GetAttr { expr, attr } if is_context(expr) => Self::attribute(attr),
            Expr::HasAttr { expr, attrs } if is_context(expr) => Self::attribute(attrs.first()),
            _ if is_context(expr) => Self::WHOLE,
            _ => parts(expr).map_or(Self::WHOLE, |parts| {
                parts.into_iter().fold(Self::default(), |asked, part| asked.and(Self::of(part)))
            }),
        }
    }

    fn attribute(name: &str) -> Self {
        ATTRIBUTES.iter().position(|attribute| *attribute == name).map_or(Self::WHOLE, |bit| Self(1 << bit))
    }
}

impl Leaf {
    /// Its value, as Cedar evaluates it.
    pub(crate) fn evaluate(&self, evaluator: &Evaluator<'_>) -> Known {
        match evaluator.interpret(&self.expression, &SlotEnv::new()) {
            Ok(value) => match value.value_kind() {
                ValueKind::Lit(Literal::Bool(is)) => Ok(*is),
                _ => Err("a condition is not a boolean".to_owned()),
            },
            Err(error) => Err(mcp::json::clip(&error.to_string()).to_owned()),
        }
    }
}

impl Condition {
    /// The value of the condition, in Cedar's order: what a connective does not need is not asked for.
    pub(crate) fn evaluate(&self, leaf: &mut impl FnMut(usize) -> Known) -> Known {
        match self {
            Self::Always => Ok(true),
            Self::Leaf(index) => leaf(*index),
            Self::Not(inner) => inner.evaluate(leaf).map(|is| !is),
            Self::And(parts) => {
                for part in parts {
                    if !part.evaluate(leaf)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(parts) => {
                for part in parts {
                    if part.evaluate(leaf)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::If(parts) => {
                let [test, then, or] = &**parts;
                if test.evaluate(leaf)? { then.evaluate(leaf) } else { or.evaluate(leaf) }
            }
        }
    }

    /// Calls `with` for each leaf in it.
    pub(crate) fn each_leaf(&self, with: &mut impl FnMut(usize)) {
        match self {
            Self::Always => {}
            Self::Leaf(index) => with(*index),
            Self::Not(inner) => inner.each_leaf(with),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_leaf(with)),
            Self::If(parts) => parts.iter().for_each(|part| part.each_leaf(with)),
        }
    }

    /// What the condition may come to, where `leaf` says it of each leaf. Leaves are taken to be independent, so
    /// this may hold outcomes that no request has, and never lacks one that some request has.
    pub(crate) fn outcomes(&self, leaf: &mut impl FnMut(usize) -> Outcomes) -> Outcomes {
        match self {
            Self::Always => Outcomes::of(&Ok(true)),
            Self::Leaf(index) => leaf(*index),
            Self::Not(inner) => inner.outcomes(leaf).not(),
            Self::And(parts) => {
                let all = Outcomes::of(&Ok(true));
                parts
                    .iter()
                    .fold(all, |so_far, part| if so_far.is_true { so_far.and(part.outcomes(leaf)) } else { so_far })
            }
            Self::Or(parts) => {
                // none of them is true, negated (De Morgan)
                let none = Outcomes::of(&Ok(true));
                let negated = |part: &Self, leaf: &mut _| part.outcomes(leaf).not();
                let all_false = parts
                    .iter()
                    .fold(none, |so_far, part| if so_far.is_true { so_far.and(negated(part, leaf)) } else { so_far });
                all_false.not()
            }
            Self::If(parts) => {
                let [test, then, or] = &**parts;
                let test = test.outcomes(leaf);
                let then = if test.is_true { then.outcomes(leaf) } else { Outcomes::NONE };
                let or = if test.is_false { or.outcomes(leaf) } else { Outcomes::NONE };
                Outcomes {
                    is_true: then.is_true || or.is_true,
                    is_false: then.is_false || or.is_false,
                    is_error: test.is_error || then.is_error || or.is_error,
                }
            }
        }
    }
}

impl Outcomes {
    /// Not known; it cannot fail.
    pub(crate) const EITHER: Self = Self { is_true: true, is_false: true, is_error: false };
    /// Not known at all.
    pub(crate) const ANY: Self = Self { is_true: true, is_false: true, is_error: true };
    const NONE: Self = Self { is_true: false, is_false: false, is_error: false };

    pub(crate) const fn of(known: &Known) -> Self {
        match known {
            Ok(is) => Self { is_true: *is, is_false: !*is, is_error: false },
            Err(_) => Self { is_error: true, ..Self::NONE },
        }
    }

    const fn not(self) -> Self {
        Self { is_true: self.is_false, is_false: self.is_true, ..self }
    }

    /// This, and where it is true `next`.
    const fn and(self, next: Self) -> Self {
        Self {
            is_true: next.is_true,
            is_false: self.is_false || next.is_false,
            is_error: self.is_error || next.is_error,
        }
    }

    /// Whether only one outcome is left.
    pub(crate) const fn is_settled(self) -> bool {
        self.is_true as u8 + self.is_false as u8 + self.is_error as u8 == 1
    }
}

/// Whether `is` holds for any part of `expr`; what this version of Cedar has not is taken to hold everything.
fn holds(expr: &Expr, is: &dyn Fn(&Expr) -> bool) -> bool {
    is(expr) || parts(expr).is_none_or(|parts| parts.into_iter().any(|part| holds(part, is)))
}

/// Adds what `expr` reads of the arguments to `reads`.
fn add_arguments(expr: &Expr, reads: &mut Reads) {
    let name = match expr {
        Expr::GetAttr { expr, attr } if is_arguments(expr) => Some(attr),
        Expr::HasAttr { expr, attrs } if is_arguments(expr) => Some(attrs.first()),
        Expr::HasAttr { expr, attrs } if is_context(expr) => attrs.get(1),
        // of the context, but not of the arguments
        Expr::GetAttr { expr: context, .. } if is_context(context) && !is_arguments(expr) => None,
        _ if is_context(expr) || is_arguments(expr) => return reads.is_whole = true,
        _ => match parts(expr) {
            Some(parts) => return parts.into_iter().for_each(|part| add_arguments(part, reads)),
            None => return reads.is_whole = true,
        },
    };
    reads.names.extend(name.map(ToString::to_string));
}

/// What `expr` is made of; `None` where this version of Cedar does not know.
fn parts(expr: &Expr) -> Option<Vec<&Arc<Expr>>> {
    Some(match expr {
        Expr::Literal(_) | Expr::Slot(_) | Expr::Var(_) => Vec::new(),
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. } => vec![expr],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Is { expr, in_expr, .. } => [expr].into_iter().chain(in_expr).collect(),
        Expr::IfThenElse { cond, then_expr, else_expr } => vec![cond, then_expr, else_expr],
        Expr::Set(parts) => parts.iter().collect(),
        Expr::Record(parts) => parts.values().collect(),
        _ => return None,
    })
}

const fn is_context(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(Var::Context))
}

fn is_arguments(expr: &Expr) -> bool {
    matches!(expr, Expr::GetAttr { expr, attr } if is_context(expr) && attr == "arguments")
}

/// The `x` of `context.arguments has x`.
fn has_argument(expr: &Expr) -> Option<String> {
    let Expr::HasAttr { expr, attrs } = expr else { return None };
    is_arguments(expr).then(|| attrs.first().to_string())
}

fn is_arithmetic(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::UnaryOp { op: UnaryOp::Neg | UnaryOp::ToDate | UnaryOp::ToTime, .. }
            | Expr::BinaryOp {
                op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Offset | BinaryOp::DurationSince,
                ..
            }
    )
}

/// What a context may hold. What is missing here is taken to be all of it, and so is always said.
const ATTRIBUTES: [&str; 6] = ["arguments", "client", "hour", "method", "revision", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(condition: &str) -> Leaves {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let mut leaves = Leaves::default();
        leaves.condition(&Policy::parse(None, text).unwrap()).unwrap();
        leaves
    }

    #[test]
    fn what_is_read_of_the_context_is_known() {
        let read = |condition: &str| {
            let leaves = leaves(condition);
            let asked = leaves.iter().fold(Asked::default(), |asked, leaf| asked.and(leaf.context));
            if asked == Asked::WHOLE {
                return "*".to_owned();
            }
            ATTRIBUTES.into_iter().filter(|name| asked.contains(name)).collect::<Vec<_>>().join(",")
        };
        assert_eq!(
            read("context.hour > 3 && context has client && principal.scopes.contains(context.trace)"),
            "client,hour,trace"
        );
        assert_eq!(read("context has arguments.a.b || context.revision like \"2025*\""), "arguments,revision");
        assert_eq!(read("{ all: context }.all has hour"), "*");
        assert_eq!(read("principal.scopes.contains(\"x\")"), "");
    }

    #[test]
    fn what_is_read_of_the_arguments_is_known() {
        let read = |condition: &str| {
            let leaves = leaves(condition);
            let names = leaves.reads.names.into_iter().collect::<Vec<_>>().join(",");
            if leaves.reads.is_whole { format!("{names}*") } else { names }
        };
        assert_eq!(read(r#"context.arguments has a && context.arguments.b.c like "x" && context has client"#), "a,b");
        assert_eq!(
            read("context has arguments.d.e && context.hour > 3 && principal.scopes.contains(context.trace)"),
            "d"
        );
        assert_eq!(
            read(r#"[context.arguments["f g"]].contains(1) || (if context.arguments.h then 1 else 2) == 1"#),
            "f g,h"
        );
        assert_eq!(read("context.arguments == {}"), "*");
        assert_eq!(read("context == {}"), "*");
    }
}
