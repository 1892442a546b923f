//! Was the record changed? Anyone with the rows can tell, and with the head they can tell that none is missing.

use crate::chain::{Head, Row, seal};

/// The first row that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The row is not one of a chain.
    #[error("row {0} cannot be read")]
    Unreadable(u64),
    /// A row is missing, doubled or out of order before this one.
    #[error("row {0} does not follow the one before it")]
    Order(u64),
    /// The entry or its seal was changed.
    #[error("row {0} was changed after it was written")]
    Changed(u64),
}

/// Verifies `rows`, which follow on `from` ([`Head::default`] for a whole chain), and gives the head they lead to.
///
/// # Errors
/// [`Broken`] at the first row that does not hold.
pub fn verify<'a>(from: Head, rows: impl IntoIterator<Item = &'a str>) -> Result<Head, Broken> {
    rows.into_iter().try_fold(from, |head, row| {
        let seq = head.length + 1;
        let row: Row = serde_json::from_str(row).map_err(|_| Broken::Unreadable(seq))?;
        if row.seq != seq || row.prev != head.hash {
            return Err(Broken::Order(seq));
        }
        if seal(&row.prev, row.seq, row.entry.get()) != row.hash {
            return Err(Broken::Changed(seq));
        }
        Ok(Head { length: seq, hash: row.hash })
    })
}

#[cfg(test)]
mod tests {
    use machine::{Machine as _, Next};
    use mcp::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{Chain, Command, Entry, Outcome};

    fn entry(duration_ms: u64) -> Entry {
        Entry::Outcome(Outcome {
            request: "00f067aa0ba902b7".to_owned(),
            at: Timestamp::from_secs(1),
            status: 200,
            session: None,
            instance: None,
            end: "complete".to_owned(),
            duration_ms,
            bytes_in: 1,
            bytes_out: 2,
            tokens_in: 0,
            tokens_out: 0,
            money_micros: 0,
        })
    }

    fn chain(length: u64) -> (Head, Vec<String>) {
        (0..length).fold((Head::default(), Vec::new()), |(head, mut rows), n| {
            let appended = Chain::apply(head, Command::Append(vec![entry(n).json().unwrap()]), Timestamp::default());
            rows.extend(appended.rows);
            let Next::Put(head) = appended.state else { panic!("nothing was appended") };
            (head, rows)
        })
    }

    fn broken(rows: &[String]) -> Option<Broken> {
        verify(Head::default(), rows.iter().map(String::as_str)).err()
    }

    #[test]
    fn an_untouched_chain_leads_to_its_head() {
        let (head, rows) = chain(20);
        assert_eq!(verify(Head::default(), rows.iter().map(String::as_str)), Ok(head));
    }

    proptest! {
        #[test]
        fn any_row_deleted_swapped_or_edited_is_named(at in 0_usize..19) {
            let (head, rows) = chain(20);
            let place = at as u64 + 1;

            let mut deleted = rows.clone();
            deleted.remove(at);
            prop_assert_eq!(broken(&deleted), Some(Broken::Order(place)));

            let mut swapped = rows.clone();
            swapped.swap(at, at + 1);
            prop_assert_eq!(broken(&swapped), Some(Broken::Order(place)));

            let mut edited = rows.clone();
            edited[at] = edited[at].replace("\"status\":200", "\"status\":500");
            prop_assert_eq!(broken(&edited), Some(Broken::Changed(place)));

            let cut = verify(Head::default(), rows[..=at].iter().map(String::as_str)).unwrap();
            prop_assert_ne!(cut, head);
        }
    }
}
