//! Peer exchange (BEP 11).

use orchestra::wire::extension::pex::Exchange;

pub fn run(data: &[u8]) {
    if let Ok(exchange) = Exchange::decode(data) {
        // Six bytes an address, or eighteen, and nothing out of nothing.
        assert!((exchange.added.len() + exchange.dropped.len()) * 6 <= data.len());
        assert_eq!(Exchange::decode(&exchange.encode()), Ok(exchange));
    }
}
