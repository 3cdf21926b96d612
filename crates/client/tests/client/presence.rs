//! Members, and that they come and go.

use sockeye_client::{Item, Transport};
use sockeye_server::{ChannelOptions, ChannelRule};

use crate::common::{Between, Treatment, client, live, next, only, serve};

/// The next change of members: whether it came, and its id.
async fn change(chat: &mut sockeye_client::Subscription) -> (bool, String) {
    loop {
        match next(chat).await.unwrap() {
            Item::Join(change) => return (true, change.member.id),
            Item::Leave(change) => return (false, change.member.id),
            _ => {}
        }
    }
}

#[tokio::test]
async fn members_are_listed_whatever_their_transport() {
    let server = serve(ChannelOptions::default()).await;
    let mut kept = Vec::new();
    for transport in Transport::ALL {
        let name = transport.name();
        let member = only(&format!("http://{server}/?as={name}"), transport);
        let mut chat = member.subscribe("chat");
        chat.ready().await.unwrap();
        kept.push((member, chat));
    }
    let watcher = only(&format!("http://{server}"), Transport::V1);
    let page = watcher.members("chat", None).await.unwrap();
    let ids: Vec<_> = page.members.iter().map(|member| &*member.id).collect();
    assert_eq!(ids, ["longpoll", "ndjson", "poll", "sse", "v1"]);
    assert_eq!((page.count, page.channel()), (5, "chat"));
    assert_eq!(page.next, None);
    assert!(page.members[0].since().elapsed().unwrap().as_secs() < 60);
    let rest = watcher.members("chat", Some("poll")).await.unwrap();
    assert_eq!(rest.members.len(), 2, "{rest:?}");
    assert_eq!(watcher.members("empty", None).await.unwrap().count, 0);
}

#[tokio::test]
async fn who_comes_and_goes_is_told_over_the_websocket_and_after_it_was_cut() {
    let server = serve(ChannelOptions::default()).await;
    let between = Between::before(server, |_| Treatment::Pass).await;
    let (watcher, mut statuses) = client(&between.url(), &[Transport::V1], |builder| builder);
    let mut chat = watcher.subscribe("chat").presence(true);
    chat.ready().await.unwrap();
    assert_eq!(live(&mut statuses).await, Transport::V1);
    for transport in [Transport::V1, Transport::Sse] {
        let ann = only(&format!("http://{server}/?as=ann"), transport);
        let mut reads = ann.subscribe("chat");
        reads.ready().await.unwrap();
        assert_eq!(change(&mut chat).await, (true, "ann".to_owned()), "{transport}");
        drop((reads, ann));
        assert_eq!(change(&mut chat).await, (false, "ann".to_owned()), "{transport}");
        between.cut();
        assert_eq!(live(&mut statuses).await, Transport::V1);
        // It is subscribed to again before anything published comes.
        watcher.publish("chat", "still here").await.unwrap();
        while !matches!(next(&mut chat).await.unwrap(), Item::Message(_)) {}
    }
    assert!(chat.position().is_some());
}

#[tokio::test]
async fn presence_that_is_not_granted_refuses_the_subscription_and_the_page() {
    let rule = ChannelRule::new("chat".parse().unwrap()).presence(false);
    let server = serve(ChannelOptions::default().channel([rule])).await;
    let client = only(&format!("http://{server}"), Transport::V1);
    let refused = client.members("chat", None).await.unwrap_err();
    assert_eq!(refused.code(), Some("forbidden"));
    let refused = next(&mut client.subscribe("chat").presence(true)).await.unwrap_err();
    assert_eq!(refused.code(), Some("forbidden"));
    assert!(client.subscribe("chat").ready().await.is_ok());
}
