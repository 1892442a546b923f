//! What does a call cost? The most specific price counts: that of the tool, then that of its server.

use std::collections::BTreeMap;

/// What calls cost, in millionths of the currency's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Each call, whatever it answers.
    pub per_call_micros: u64,
    /// A million tokens, request and answer together.
    pub per_million_tokens_micros: u64,
}

/// All prices, by server and tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, OfServer>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfServer {
    any: Option<Price>,
    tools: BTreeMap<String, Price>,
}

impl Prices {
    /// Sets the price of a server's tool, or with `None` of everything else at that server. Gives the price that was
    /// there before: two prices for the same contradict each other.
    pub fn set(&mut self, server: &str, tool: Option<&str>, price: Price) -> Option<Price> {
        let of_server = self.0.entry(server.to_owned()).or_default();
        match tool {
            Some(tool) => of_server.tools.insert(tool.to_owned(), price),
            None => of_server.any.replace(price),
        }
    }

    /// The price of a request to `server`; what has none is free.
    #[must_use]
    pub fn of(&self, server: &str, tool: Option<&str>) -> Price {
        let Some(of_server) = self.0.get(server) else { return Price::default() };
        let of_tool = tool.and_then(|tool| of_server.tools.get(tool));
        of_tool.copied().or(of_server.any).unwrap_or_default()
    }
}

impl Price {
    /// What `tokens` cost, in millionths, rounded up.
    #[must_use]
    pub fn of_tokens(&self, tokens: u64) -> u64 {
        let micros = (u128::from(tokens) * u128::from(self.per_million_tokens_micros)).div_ceil(1_000_000);
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// What a call of so many tokens costs, in millionths.
    #[must_use]
    pub fn of_call(&self, tokens: u64) -> u64 {
        self.per_call_micros.saturating_add(self.of_tokens(tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_price_counts() {
        let price = |per_call_micros| Price { per_call_micros, per_million_tokens_micros: 0 };
        let mut prices = Prices::default();
        assert_eq!(prices.set("billing", None, price(1)), None);
        assert_eq!(prices.set("billing", Some("export"), price(2)), None);
        assert_eq!(prices.set("billing", Some("export"), price(3)), Some(price(2)));
        let of = |server, tool| prices.of(server, tool).per_call_micros;
        assert_eq!([of("billing", Some("export")), of("billing", Some("other")), of("billing", None)], [3, 1, 1]);
        assert_eq!(of("files", Some("export")), 0);
    }

    #[test]
    fn tokens_cost_their_share_of_a_million_and_no_sum_overflows() {
        let price = Price { per_call_micros: 10_000, per_million_tokens_micros: 3_000_000 };
        assert_eq!([price.of_call(0), price.of_call(1), price.of_call(250_000)], [10_000, 10_003, 760_000]);
        let dear = Price { per_call_micros: u64::MAX, per_million_tokens_micros: u64::MAX };
        assert_eq!(dear.of_call(u64::MAX), u64::MAX);
    }
}
