//! Commands, and how they are answered.

use serde_json::{Value, json};

use super::{V1, error_code};
use crate::client::TestServer;

#[tokio::test]
async fn every_answer_has_the_id_of_its_command_as_it_came() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    for id in ["1", "-7", "1.50", "\"a\\u0062\"", "12345678901234567890"] {
        connection.send_text(&format!("{{\"op\":\"ping\", \"id\": {id} }}")).await;
        assert_eq!(connection.receive_text().await, format!("{{\"id\":{id},\"ok\":{{}}}}"));
    }
    connection.send(json!({"op": "ping"})).await;
    assert_eq!(connection.receive_text().await, "{\"ok\":{}}");
    for id in [json!([1]), json!({}), json!(true), json!("x".repeat(64))] {
        connection.send(json!({"op": "ping", "id": id})).await;
        let answer = connection.receive().await;
        assert_eq!((answer.get("id"), error_code(&answer).as_str()), (None, "bad_request"));
    }
}

#[tokio::test]
async fn what_is_published_has_its_kind_on_every_transport() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/c/chat").await;
    let published = [
        (r#"{"op":"pub","data":"h\u00e9llo \"you\""}"#, r#""data":"héllo \"you\"""#),
        (r#"{"op":"pub","data": { "b":1.0, "a" : 1e5 } }"#, r#""data":{ "b":1.0, "a" : 1e5 }"#),
        (r#"{"op":"pub","data":null}"#, r#""data":null"#),
        (r#"{"op":"pub","data":12345678901234567890.10}"#, r#""data":12345678901234567890.10"#),
        (r#"{"op":"pub","b64":"/wA="}"#, r#""b64":"/wA=""#),
        (r#"{"op":"pub","b64":"/wA"}"#, r#""b64":"/wA=""#),
        (r#"{"op":"pub","data":1,"event":"move"}"#, r#""data":1,"event":"move""#),
    ];
    for (command, message) in published {
        connection.send_text(command).await;
        // In a cluster the message may come before the answer.
        let mut frames = [connection.receive_text().await, connection.receive_text().await];
        frames.sort_by_key(|frame| !frame.contains("\"ok\""));
        let [answer, told] = frames;
        let at = serde_json::from_str::<Value>(&answer).unwrap()["ok"]["at"].take();
        assert!(told.starts_with(&format!("{{\"ch\":\"chat\",\"at\":{at},\"ts\":")), "{told}");
        assert!(told.ends_with(&format!(",{message}}}")), "{told}");
    }
    let polled = server.get("/c/chat").await;
    for (_, message) in published {
        assert!(polled.text().contains(message), "{message} is not in {}", polled.text());
    }
}

#[tokio::test]
async fn a_key_makes_a_repeated_publication_return_its_first_position() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let publish = json!({"op": "pub", "ch": "chat", "data": "once", "key": "k1"});
    let first = connection.done(publish.clone()).await;
    assert_eq!(connection.done(publish.clone()).await, first);
    // By another connection and another transport as well.
    let mut other = V1::connect(&server, "/connect").await;
    assert_eq!(other.done(publish).await, first);
    let request = server.request(http::Method::POST, "/c/chat").header("idempotency-key", "k1");
    assert_eq!(server.send(request, "once").await.json(), first);
    let mut another = json!({"op": "pub", "ch": "chat", "data": "twice", "key": "k2"});
    assert_ne!(connection.done(another.clone()).await, first);
    another["key"] = json!("line\nbreak");
    assert_eq!(connection.refused(another).await, "bad_request");
}

#[tokio::test]
async fn publications_are_kept_in_the_order_in_which_they_were_sent() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    for number in 0..150 {
        let command = json!({"id": number, "op": "pub", "ch": "chat", "data": number});
        connection.send(command).await;
    }
    let mut positions = Vec::new();
    for number in 0..150 {
        let mut answer = connection.receive().await;
        assert_eq!(answer["id"], number);
        positions.push(answer["ok"]["at"].take());
    }
    let polled = server.get("/c/chat?after=earliest&limit=1000").await.json();
    let messages = polled["messages"].as_array().unwrap();
    let kept: Vec<_> = messages.iter().map(|message| message["at"].clone()).collect();
    assert_eq!(kept, positions);
    let data: Vec<_> = messages.iter().map(|message| message["data"].as_u64().unwrap()).collect();
    assert_eq!(data, (0..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn read_gives_what_a_poll_gives() {
    let server = TestServer::with(|options| options.channels.history_count = 5).await;
    let first = server.publish("/c/chat", "0").await;
    for number in 1..8 {
        server.publish("/c/chat", &number.to_string()).await;
    }
    let mut connection = V1::connect(&server, "/connect").await;
    for query in ["", "after=earliest&limit=2", "after=-3", "after=now", "after=10m", "limit=1"] {
        let mut command = json!({"op": "read", "ch": "chat"});
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            command[name] =
                value.parse::<u32>().map_or_else(|_| json!(value), |limit| json!(limit));
        }
        let polled = server.get(&format!("/c/chat?{query}")).await.json();
        assert_eq!(connection.done(command).await, polled, "{query}");
    }
    let polled = server.get(&format!("/c/chat?after={first}")).await.json();
    let read = connection.done(json!({"op": "read", "ch": "chat", "after": first})).await;
    assert_eq!(read["gap"]["why"], "expired");
    assert_eq!(read, polled);
    let nothing = connection.done(json!({"op": "read", "ch": "nothing"})).await;
    assert_eq!(nothing["messages"], json!([]));
}

/// Errors are sent, with the `id` where there is one, and the connection stays.
#[tokio::test]
async fn a_mistake_is_answered_and_costs_nothing_else() {
    let server = TestServer::with(|options| options.channels.max_message = 8).await;
    let mut connection = V1::connect(&server, "/connect").await;
    let mistakes = [
        (r#"{"op":"sub"}"#, "bad_request"),
        (r#"{"op":"sub","ch":"-"}"#, "bad_channel"),
        (r#"{"op":"sub","ch":7}"#, "bad_request"),
        (r#"{"op":"sub","ch":"chat","after":"yesterday"}"#, "bad_position"),
        (r#"{"op":"sub","ch":"chat","after":5}"#, "bad_request"),
        (r#"{"op":"read","ch":"chat","limit":0}"#, "bad_request"),
        (r#"{"op":"read","ch":"chat","limit":1001}"#, "bad_request"),
        (r#"{"op":"read","ch":"chat","limit":"5"}"#, "bad_request"),
        (r#"{"op":"swim","ch":"chat"}"#, "bad_request"),
        (r#"{"op":7}"#, "bad_request"),
        (r#"{"ch":"chat"}"#, "bad_request"),
        (r#"{"op":"pub","ch":"chat"}"#, "bad_request"),
        (r#"{"op":"pub","ch":"chat","data":1,"b64":""}"#, "bad_request"),
        (r#"{"op":"pub","ch":"chat","b64":"*"}"#, "bad_request"),
        (r#"{"op":"pub","ch":"chat","data":1,"event":"gap"}"#, "bad_event"),
        (r#"{"op":"pub","ch":"chat","data":1,"event":""}"#, "bad_event"),
        (r#"{"op":"pub","ch":"chat","data":"\ud800"}"#, "bad_json"),
        (r#"{"op":"pub","ch":"chat","data":"123456789"}"#, "too_large"),
    ];
    for (frame, code) in mistakes {
        let with_id = frame.replacen('{', r#"{"id":7,"#, 1);
        connection.send_text(&with_id).await;
        let answer = connection.receive().await;
        assert_eq!((&answer["id"], error_code(&answer).as_str()), (&json!(7), code), "{frame}");
    }
    let deep = format!(
        "{{\"op\":\"pub\",\"ch\":\"chat\",\"data\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let no_commands =
        ["", "x", "[]", "[1,\"ping\"]", "\"ping\"", "null", "{", r#"{"op":"ping"}}"#, &deep];
    for frame in no_commands {
        connection.send_text(frame).await;
        let answer = connection.receive().await;
        assert_eq!((answer.get("id"), error_code(&answer).as_str()), (None, "bad_json"), "{frame}");
    }
    connection.send_text(r#"{"op":"ping","op":"ping"}"#).await;
    assert_eq!(error_code(&connection.receive().await), "bad_request", "a member twice");
    assert_eq!(connection.done(json!({"op": "ping", "more": {"to": "come"}})).await, json!({}));
    let polled = server.get("/c/chat").await.json();
    assert_eq!(polled["messages"], json!([]), "nothing was published");
}

/// The same JSON is published, or refused, whether it comes by `POST` or by `pub`.
#[tokio::test]
async fn json_is_judged_alike_on_every_transport() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let arrays = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let taken = [arrays(100), objects(100), r#"["\ud83d\udc1f"]"#.to_owned()];
    let refused = [
        arrays(101),
        objects(101),
        arrays(10_000),
        r#"["\ud800"]"#.into(),
        r#"{"\udc1f":1}"#.into(),
    ];
    let judged = taken.iter().map(|json| (json, true));
    for (json, is_taken) in judged.chain(refused.iter().map(|json| (json, false))) {
        let command = format!("{{\"op\":\"pub\",\"id\":7,\"ch\":\"chat\",\"data\":{json}}}");
        connection.send_text(&command).await;
        let answer = connection.receive().await;
        assert_eq!(answer["id"], 7, "{answer}");
        assert_eq!(answer["ok"].is_object(), is_taken, "{json}: {answer}");
        for kind in ["application/json", "application/activity+json"] {
            let posted = server.post("/c/chat", kind, json.clone()).await;
            if is_taken {
                assert_eq!(posted.status, 201, "{json}");
                continue;
            }
            assert_eq!(error_code(&answer), "bad_json");
            posted.assert_problem(400, "bad_json");
            let detail = posted.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(" at line 1 column "), "{detail}");
        }
    }
    let polled = server.get("/c/chat").await.json();
    assert_eq!(polled["messages"].as_array().map(Vec::len), Some(3 * taken.len()));
}
