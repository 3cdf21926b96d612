//! What the texts of errors say.

use std::io;

use sockeye::{
    AcceptError, ConnectError, Deadline, Error, Failure, Limit, Message, Misuse, ProxyError,
    ResponseError, TrySendError, Violation,
};

fn assert_says_each_cause_once(error: &dyn std::error::Error) {
    let (text, mut cause) = (error.to_string(), error.source());
    while let Some(inner) = cause {
        assert!(!text.contains(&inner.to_string()), "{text:?} names {:?}", inner.to_string());
        cause = inner.source();
    }
}

#[test]
fn an_error_names_its_cause_or_gives_it_as_its_source_but_not_both() {
    let io = || io::Error::other("no route");
    let host = || "example.org:443".to_owned();
    let failures = [
        Failure::from(Violation::Masked),
        Failure::from(Limit::MessageSize { max: 1 }),
        Failure::from(Deadline::Close),
    ];
    for failure in failures {
        assert_says_each_cause_once(&failure);
        assert_says_each_cause_once(&Error::Failed(failure));
        let error = Error::Failed(failure);
        assert_says_each_cause_once(&TrySendError::Closed(Message::from("x"), error));
    }
    assert_says_each_cause_once(&Error::Io(io()));
    assert_says_each_cause_once(&Error::from(Misuse::Closing));
    let connect: [ConnectError; 6] = [
        io().into(),
        ConnectError::Connect { host: host(), error: io() },
        ConnectError::Tls { host: host(), error: io() },
        ConnectError::Response(ResponseError::Upgrade),
        ConnectError::Proxy { proxy: host(), error: ProxyError::Connect(io()) },
        ConnectError::Proxy { proxy: host(), error: ProxyError::Io(io()) },
    ];
    for error in &connect {
        assert_says_each_cause_once(error);
        assert!(error.to_string().contains(": "), "{error}");
    }
    assert_says_each_cause_once(&AcceptError::from(io()));
    assert_eq!(Error::Io(io()).to_string(), "the connection was lost: no route");
}
