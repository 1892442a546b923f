//! `turnpike usage`: what a tenant used and what it cost.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{Datelike as _, NaiveDate, Utc};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, ColumnConstraint, Row, Table, presets};
use gateway::config::Decimal;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Address, Gateway},
    failure::{Ending, Failure},
    output::{self, Format, printable},
    progress::Step,
    record::segment,
};

#[derive(Args)]
#[command(after_help = "Examples:\n  turnpike usage acme                              this month, by agent\n  \
turnpike usage acme --by day,tool                by day, and within it by tool\n  \
turnpike usage acme --from 2026-11-01 --to 2026-11-30 --json")]
pub(crate) struct Options {
    /// The tenant
    tenant: String,
    /// The first day, UTC; otherwise the first of this month
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day; otherwise today
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// What is told apart
    #[arg(long, value_enum, value_delimiter = ',', default_value = "agent")]
    by: Vec<By>,
    #[command(flatten)]
    address: Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Agent,
    Server,
    Tool,
    Day,
    User,
}

#[derive(Debug, Deserialize)]
struct Usage {
    days: Vec<Day>,
}

#[derive(Debug, Deserialize)]
struct Day {
    day: String,
    rows: Vec<Used>,
}

/// What one agent used of one tool for one user on one day.
#[derive(Debug, Deserialize)]
struct Used {
    agent: String,
    #[serde(default)]
    user: String,
    server: String,
    #[serde(default)]
    tool: Option<String>,
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    denied: u64,
    #[serde(default)]
    tokens_in: u64,
    #[serde(default)]
    tokens_out: u64,
    #[serde(default)]
    money_micros: u64,
}

pub(crate) async fn run(options: &Options, format: Format) -> Result<Ending> {
    let today = Utc::now().date_naive();
    let to = options.to.unwrap_or(today);
    let from = options.from.or_else(|| to.with_day(1)).unwrap_or(to);
    if from > to {
        return Err(Failure::Usage(format!("{from} is after {to}: swap --from and --to")).into());
    }
    let gateway = Gateway::at(&options.address)?;
    let mut step = Step::begin(format!("the usage of {}", printable(&options.tenant)));
    let query = [("from", from.to_string()), ("to", to.to_string())];
    let path = format!("/api/usage/{}", segment(&options.tenant));
    let usage: Usage = step.watch(gateway.get(&path, &query)).await?;
    drop(step);
    let (rows, total) = summed(&usage, &options.by);
    match format {
        Format::People => {
            output::say(&format!(
                "{} from {from} to {to} (UTC)\n\n{}",
                printable(&options.tenant),
                table(&options.by, &rows, &total)
            ))?;
        }
        Format::Json => {
            let keys: Vec<String> = options.by.iter().map(|by| by.name()).collect();
            let rows = rows.iter().map(|(names, sum)| {
                let mut row = serde_json::to_value(sum).unwrap_or_default();
                if let Some(row) = row.as_object_mut() {
                    row.extend(keys.iter().cloned().zip(names.iter().map(|name| serde_json::json!(name))));
                }
                row
            });
            let rows: Vec<_> = rows.collect();
            output::json(
                &serde_json::json!({ "tenant": options.tenant, "from": from.to_string(), "to": to.to_string(), "rows": rows, "total": total }),
            )?;
        }
    }
    Ok(Ending::Fine)
}

/// The rows by what is told apart, and everything together.
fn summed(usage: &Usage, by: &[By]) -> (BTreeMap<Vec<String>, Sum>, Sum) {
    let mut rows: BTreeMap<Vec<String>, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for day in &usage.days {
        for used in &day.rows {
            let names = by.iter().map(|by| by.of(day, used)).collect();
            rows.entry(names).or_default().add(used.sum);
            total.add(used.sum);
        }
    }
    (rows, total)
}

impl By {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn of(self, day: &Day, used: &Used) -> String {
        match self {
            Self::Agent => used.agent.clone(),
            Self::Server => used.server.clone(),
            Self::Tool => used
                .tool
                .as_ref()
                .map_or_else(|| format!("{}/-", used.server), |tool| format!("{}/{tool}", used.server)),
            Self::Day => day.day.clone(),
            Self::User => used.user.clone(),
        }
    }
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.denied = self.denied.saturating_add(other.denied);
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.money_micros = self.money_micros.saturating_add(other.money_micros);
    }

    fn cells(&self) -> [String; 5] {
        let money = i64::try_from(self.money_micros).map(|micros| cents(&Decimal::from_micros(micros).to_string()));
        let [calls, denied, tokens_in, tokens_out] =
            [self.calls, self.denied, self.tokens_in, self.tokens_out].map(grouped);
        [calls, denied, tokens_in, tokens_out, money.unwrap_or_default()]
    }
}

fn table(by: &[By], rows: &BTreeMap<Vec<String>, Sum>, total: &Sum) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let head = by.iter().map(|by| by.name()).chain(COLUMNS.map(str::to_owned));
    table.set_header(head.collect::<Vec<_>>());
    for (names, sum) in rows {
        table.add_row(Row::from(names.iter().map(|name| printable(name)).chain(sum.cells()).collect::<Vec<_>>()));
    }
    let blank = by.iter().enumerate().map(|(n, _)| if n == 0 { "total".to_owned() } else { String::new() });
    table.add_row(Row::from(blank.chain(total.cells()).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_constraint(ColumnConstraint::ContentWidth).set_padding((0, 2));
    }
    for column in table.column_iter_mut().skip(by.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// Money with two places at least.
fn cents(money: &str) -> String {
    let places = money.split_once('.').map_or(0, |(_, places)| places.len());
    match places {
        0 => format!("{money}.00"),
        1 => format!("{money}0"),
        _ => money.to_owned(),
    }
}

/// A number as people read it: `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

const COLUMNS: [&str; 5] = ["calls", "denied", "tokens in", "tokens out", "money"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_summed_by_what_is_told_apart() {
        let row = |agent: &str, tool: Option<&str>, calls: u64| {
            json!({"agent": agent, "user": "ann", "server": "files", "tool": tool, "calls": calls, "denied": 1,
                "tokens_in": 1000 * calls, "tokens_out": 10, "money_micros": 1_500_000})
        };
        let usage = json!({"tenant": "acme", "days": [
            {"day": "2026-11-19", "rows": [row("coder", Some("read"), 2), row("coder", None, 3)]},
            {"day": "2026-11-20", "rows": [row("coder", Some("read"), 5), row("bot", Some("read"), 7)]},
        ]});
        let usage: Usage = serde_json::from_value(usage).unwrap();
        let (rows, total) = summed(&usage, &[By::Agent, By::Tool]);
        let calls: Vec<(String, u64)> = rows.iter().map(|(names, sum)| (names.join(" "), sum.calls)).collect();
        let expected = [("bot files/read", 7), ("coder files/-", 3), ("coder files/read", 7)];
        assert_eq!(calls, expected.map(|(names, calls)| (names.to_owned(), calls)));
        let table = table(&[By::Agent, By::Tool], &rows, &total);
        assert!(
            table.lines().last().is_some_and(|line| line.contains("17,000") && line.trim_end().ends_with("6.00")),
            "{table}"
        );
    }
}
