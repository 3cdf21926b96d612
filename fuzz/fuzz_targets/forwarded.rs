//! What proxies write of clients, and clients for them: any text is read, and what the last proxy has
//! added is read the same, whatever stands before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_server::internals::{Element, Node};

fuzz_target!(|text: &str| {
    if let Ok(Node::Address(address)) = Node::parse(text) {
        assert_eq!(Node::parse(&format!("[{address}]:1")).is_ok(), address.is_ipv6());
    }
    assert!(Element::all(text).count() <= text.len() + 1);
    let added = format!("{text}, for=\"192.0.2.1:80\";proto=https");
    let last = Element::all(&added).next().expect("there is one");
    assert_eq!(last.node.as_deref(), Some("192.0.2.1:80"));
    assert_eq!(last.proto.as_deref(), Some("https"));
});
