//! A31–A45: which events are dispatched, to which listeners, in which order.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sockeye::{
    CloseSignal, Config, Keepalive, Message,
    web::{BinaryType, CloseEventInit, EventInit, EventListener, ListenerOptions, WebSocket},
};
use sockeye_testing::pass;
use tokio::{sync::mpsc::unbounded_channel, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::support::{Events, Told, answer, clean, echo, failed, script, serve, soon, switch};

/// What listeners noted down, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl ToString) {
        self.0.lock().unwrap().push(note.to_string());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Rule: A31.
#[tokio::test]
async fn at_open_everything_is_set() {
    let url = echo().await;
    let socket = WebSocket::new(&url, "chat").unwrap();
    let (sender, mut receiver) = unbounded_channel();
    socket.set_onopen(move |event| {
        let socket = event.target();
        sender.send((socket.ready_state(), socket.protocol(), socket.extensions())).unwrap();
    });
    let seen = soon(receiver.recv()).await.unwrap();
    assert_eq!(seen, (WebSocket::OPEN, "chat".to_owned(), String::new()));
}

/// Rule: A31.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_given_to_the_constructor_miss_nothing_on_any_runtime() {
    for _ in 0..100 {
        let mut events = None;
        let socket = WebSocket::new_with("ws://127.0.0.1:1/", (), |socket| {
            events = Some(Events::of(socket));
        });
        let told = [events.as_mut().unwrap().next().await, events.unwrap().next().await];
        assert_eq!(told, [Told::Error, failed()]);
        drop(socket);
    }
}

/// Rules: A32, A33.
#[tokio::test]
async fn events_have_their_classes_and_the_socket_as_target() {
    let url = serve(|incoming| async move {
        incoming.accept().await?.send("hello").await?;
        Ok(())
    })
    .await;
    for url in [url.as_str(), "ws://127.0.0.1:1/"] {
        let socket = WebSocket::new(url, ()).unwrap();
        let notes = Notes::default();
        for name in ["open", "message", "error", "close"] {
            let notes = notes.clone();
            // Taken by the one event: a socket that its own listener captures is kept for ever.
            let same = Mutex::new(Some(socket.clone()));
            socket.add_event_listener(name, move |event| {
                let same = same.lock().unwrap().take();
                assert_eq!(same.as_ref(), Some(event.target()));
                notes.add(format!("{} {event}", event.name()));
            });
        }
        Events::of(&socket).all().await;
        let open = ["open [object Event]", "message [object MessageEvent]"];
        let expected = match url.ends_with(":1/") {
            true => vec!["error [object Event]", "close [object CloseEvent]"],
            false => [&open[..], &["close [object CloseEvent]"]].concat(),
        };
        assert_eq!(notes.take(), expected);
    }
}

/// Rule: A34.
#[tokio::test]
async fn there_are_no_handlers_until_they_are_set() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    for name in ["open", "message", "error", "close"] {
        assert!(!socket.has_handler(name), "{name}");
    }
    let notes = Notes::default();
    let noting = notes.clone();
    socket.set_onopen(move |_| noting.add("open"));
    assert!(socket.has_handler("open"));
    socket.remove_handler("open");
    assert!(!socket.has_handler("open"));
    socket.dispatch_event(EventInit::new("open"));
    assert_eq!(notes.take(), [""; 0]);
}

/// Rule: A35.
#[tokio::test]
async fn a_handler_has_the_place_of_its_first_setting() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let notes = Notes::default();
    let note = |text: &'static str| {
        let notes = notes.clone();
        move |_: &sockeye::web::Event| notes.add(text)
    };
    socket.add_event_listener("open", note("first"));
    socket.set_onopen(note("old handler"));
    socket.add_event_listener("open", note("second"));
    socket.set_onopen(note("new handler"));
    socket.add_event_listener("open", note("third"));
    assert_eq!(Events::of(&socket).next().await, Told::Open);
    assert_eq!(notes.take(), ["first", "new handler", "second", "third"]);
}

/// Rule: A36.
#[tokio::test]
async fn synthetic_events_are_told_at_once_and_listeners_can_be_removed() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let notes = Notes::default();
    let noting = notes.clone();
    socket.set_onmessage(move |event| noting.add(format!("{} {}", event.data(), event.origin())));
    let noting = notes.clone();
    socket.set_onclose(move |event| noting.add(format!("{} {}", event.code(), event.was_clean())));
    let noting = notes.clone();
    socket.add_event_listener_once("open", move |_| noting.add("once"));
    let noting = notes.clone();
    let removed = socket.add_event_listener("open", move |_| noting.add("removed"));
    socket.add_event_listener_once("open", move |event| {
        event.target().remove_event_listener(removed);
    });
    let noting = notes.clone();
    socket.add_event_listener("custom", move |event| noting.add(event.name()));
    socket.dispatch_event(EventInit::new("open"));
    socket.dispatch_event(EventInit::new("open"));
    socket.dispatch_event(EventInit::message("message", "hello", "ws://h"));
    socket.dispatch_event(EventInit::close("close", CloseEventInit::default()));
    socket.dispatch_event(EventInit::new("custom"));
    assert_eq!(notes.take(), ["once", "removed", "hello ws://h", "0 false", "custom"]);
    assert_eq!(socket.ready_state(), WebSocket::CONNECTING);
}

/// Rule: A36.
#[tokio::test]
async fn an_event_can_be_kept_from_later_listeners_but_a_panic_keeps_it_from_none() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let notes = Notes::default();
    socket.add_event_listener("open", |_| panic!("this listener is meant to panic"));
    let noting = notes.clone();
    socket.add_event_listener("open", move |event| {
        noting.add("told");
        event.stop_immediate_propagation();
    });
    let noting = notes.clone();
    socket.add_event_listener("open", move |_| noting.add("not told"));
    socket.dispatch_event(EventInit::new("open"));
    assert_eq!(notes.take(), ["told"]);
}

/// HTML, "event handlers": the class of the event does not matter.
///
/// Rules: A34, A36.
#[tokio::test]
async fn a_handler_is_called_for_every_event_of_its_name() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let notes = Notes::default();
    let noting = notes.clone();
    socket.set_onmessage(move |event| {
        let of_its_class = event.as_message().is_some();
        noting.add(format!("{} {of_its_class} {:?}", *event, event.data().as_text()));
    });
    let noting = notes.clone();
    socket.set_onclose(move |event| {
        noting.add(format!("{} {} {:?}", *event, event.code(), event.reason()));
    });
    socket.dispatch_event(EventInit::new("message"));
    socket.dispatch_event(EventInit::close("message", CloseEventInit::default()));
    socket.dispatch_event(EventInit::new("close"));
    socket.dispatch_event(EventInit::message("close", "hello", ""));
    let expected = [
        "[object Event] false Some(\"\")",
        "[object CloseEvent] false Some(\"\")",
        "[object Event] 0 \"\"",
        "[object MessageEvent] 0 \"\"",
    ];
    assert_eq!(notes.take(), expected);
}

/// Rules: A33, A36.
#[tokio::test]
async fn an_event_has_its_origin_and_its_time() {
    let before = Instant::now().into_std();
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let (sender, mut receiver) = unbounded_channel();
    socket.add_event_listener("open", move |event| {
        event.prevent_default();
        let prevented = (event.cancelable(), event.default_prevented());
        sender.send((event.is_trusted(), event.time_stamp() >= before, prevented)).unwrap();
    });
    assert_eq!(soon(receiver.recv()).await, Some((true, true, (false, false))));
    let is_default = socket.dispatch_event(EventInit::new("open"));
    assert_eq!(receiver.try_recv(), Ok((false, true, (false, false))));
    assert!(is_default, "it cannot be prevented");
    let is_default = socket.dispatch_event(EventInit::new("open").cancelable());
    assert_eq!(receiver.try_recv(), Ok((false, true, (true, true))));
    assert!(!is_default);
    assert!(socket.dispatch_event(EventInit::new("unheard").cancelable()));
}

/// Rule: A36.
#[tokio::test]
async fn listeners_have_options_and_the_same_one_counts_once() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let notes = Notes::default();
    let listener = |note: &'static str| {
        let notes = notes.clone();
        EventListener::new(move |_| notes.add(note))
    };
    let (plain, shown) = (ListenerOptions::default, CancellationToken::new());
    let (first, last, aborted) = (listener("first"), listener("last"), listener("aborted"));
    let place = socket.add_event_listener_with("x", &last, plain());
    assert_eq!(place, socket.add_event_listener_with("x", &last.clone(), plain().once()));
    socket.add_event_listener_with("x", &aborted, plain().signal(shown.clone()));
    socket.add_event_listener_with("x", &first, plain().capture());
    socket.dispatch_event(EventInit::new("x"));
    assert_eq!(notes.take(), ["first", "last", "aborted"]);
    shown.cancel();
    socket.add_event_listener_with("x", &listener("too late"), plain().signal(shown));
    // Capturing, it is another one.
    socket.add_event_listener_with("x", &last, plain().capture().once());
    socket.dispatch_event(EventInit::new("x"));
    assert_eq!(notes.take(), ["first", "last", "last"]);
    socket.remove_event_listener(place);
    socket.dispatch_event(EventInit::new("x"));
    assert_eq!(notes.take(), ["first"]);
}

/// A listener may remove others by their signal while it is told.
///
/// Rule: A36.
#[tokio::test]
async fn a_signal_cancelled_by_a_listener_concerns_those_behind_it() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let notes = Notes::default();
    let (signal, noting) = (CancellationToken::new(), notes.clone());
    let canceller = signal.clone();
    socket.add_event_listener("x", move |_| canceller.cancel());
    let behind = EventListener::new(move |_| noting.add("told"));
    socket.add_event_listener_with("x", &behind, ListenerOptions::default().signal(signal));
    socket.dispatch_event(EventInit::new("x"));
    assert_eq!(notes.take(), [""; 0]);
}

/// Rule: A37.
#[tokio::test]
async fn binary_messages_arrive_as_the_socket_wants_them_at_that_time() {
    let url = serve(|incoming| async move {
        let mut socket = incoming.accept().await?;
        for message in ["one".into(), Message::binary("two"), Message::binary("three")] {
            socket.send(message).await?;
        }
        while socket.recv().await.is_some() {}
        Ok(())
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    let mut events = Events::of(&socket);
    let origin = Arc::new(Mutex::new(String::new()));
    let seen = origin.clone();
    socket.set_onmessage(move |event| {
        if event.data().as_blob().is_some() {
            event.target().set_binary_type(BinaryType::ArrayBuffer);
        }
        *seen.lock().unwrap() = event.origin().to_owned();
    });
    assert_eq!(events.next().await, Told::Open);
    assert_eq!(events.next().await, Told::Text("one".to_owned()));
    assert_eq!(events.next().await, Told::Blob(3));
    assert_eq!(events.next().await, Told::Bytes(b"three".to_vec()));
    assert_eq!(format!("{}/", origin.lock().unwrap()), url);
}

/// Rule: A38.
#[tokio::test]
async fn a_close_received_makes_the_socket_closing() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let url = script(|mut stream, head| async move {
        use tokio::io::AsyncWriteExt;
        let mut bytes = switch(&head, "");
        bytes.extend_from_slice(b"\x88\x02\x03\xe8");
        stream.write_all(&bytes).await.unwrap();
        // The client waits for the server to end the connection.
        let _ = gone.await;
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    let mut events = Events::of(&socket);
    assert_eq!(events.next().await, Told::Open);
    soon(async {
        while socket.ready_state() != WebSocket::CLOSING {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(events.so_far(), []);
    go.send(()).unwrap();
    assert_eq!(events.next().await, clean(1000, ""));
    assert_eq!(socket.ready_state(), WebSocket::CLOSED);
}

/// Rule: A39.
#[tokio::test]
async fn error_comes_before_close_and_both_see_a_closed_socket() {
    let url = script(|stream, head| async move {
        // A reserved opcode.
        answer(stream, &[&switch(&head, "")[..], b"\x83\x00"].concat()).await;
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    let states = Arc::new(Mutex::new(Vec::new()));
    for name in ["error", "close"] {
        let states = states.clone();
        socket.add_event_listener(name, move |event| {
            states.lock().unwrap().push(event.target().ready_state());
        });
    }
    assert_eq!(Events::of(&socket).all().await, [Told::Open, Told::Error, failed()]);
    assert_eq!(*states.lock().unwrap(), [WebSocket::CLOSED; 2]);
}

/// Rule: A40.
#[tokio::test]
async fn no_message_is_told_after_close_was_called() {
    let url = serve(|incoming| async move {
        let mut socket = incoming.accept().await?;
        for i in 0..100 {
            socket.send(i.to_string()).await?;
        }
        while socket.recv().await.is_some() {}
        Ok(())
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    socket.set_onmessage(|event| event.target().close(1000, "").unwrap());
    let events = Events::of(&socket).all().await;
    assert_eq!(events, [Told::Open, Told::Text("0".to_owned()), clean(1000, "")]);
}

/// Rule: A41.
#[tokio::test]
async fn events_tell_nothing_of_the_cause() {
    let refused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("ws://{}/", listener.local_addr().unwrap())
    };
    let status = script(|stream, _| async {
        answer(stream, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let mut causes = Vec::new();
    for url in [refused.as_str(), &status, "ws://name.invalid/", "ws://127.0.0.1:1/"] {
        let socket = WebSocket::new(url, ()).unwrap();
        assert_eq!(Events::of(&socket).all().await, [Told::Error, failed()], "{url}");
        causes.push(socket.last_error().unwrap().to_string());
    }
    causes.sort();
    causes.dedup();
    assert_eq!(causes.len(), 4, "beside the events, each has its own: {causes:?}");
}

/// Rule: A42.
#[test]
fn the_constants_are_those_of_the_standard() {
    let states = [WebSocket::CONNECTING, WebSocket::OPEN, WebSocket::CLOSING, WebSocket::CLOSED];
    assert_eq!(states.map(|state| state as u16), [0, 1, 2, 3]);
}

/// Rule: A45.
#[tokio::test]
async fn an_idle_connection_stays_open_and_usable() {
    let keepalive =
        Keepalive::default().interval(Duration::from_millis(20)).timeout(Duration::from_secs(5));
    let url = echo().await;
    let builder = WebSocket::builder().config(Config::default().keepalive(keepalive));
    let socket = builder.open(&url, ()).unwrap();
    let mut events = Events::of(&socket);
    assert_eq!(events.next().await, Told::Open);
    // Fifteen intervals without a word of ours.
    pass(15 * keepalive.interval).await;
    assert_eq!(events.so_far(), []);
    socket.send("still here").unwrap();
    assert_eq!(events.next().await, Told::Text("still here".to_owned()));
}

#[tokio::test]
async fn a_dropped_socket_closes_without_a_code_after_what_was_sent_and_dispatches_nothing() {
    let (url, mut received) = crate::support::recorder().await;
    let socket = WebSocket::new(&url, ()).unwrap();
    let mut events = Events::of(&socket);
    assert_eq!(events.next().await, Told::Open);
    socket.send("last words").unwrap();
    drop(socket);
    assert_eq!(events.until_dropped().await, []);
    assert_eq!(soon(received.recv()).await, Some(Ok("last words".into())));
    let closed = soon(received.recv()).await.unwrap().unwrap_err();
    assert_eq!((closed.is_clean(), closed.received), (true, CloseSignal::Empty));
}
