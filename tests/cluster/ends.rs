//! Ends of channels on three nodes: one place in the order of all publications, on every node, through restarts and
//! the death of a leader.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_tests::curl::Stream;

use super::{Cluster, json, messages, node};

/// What a request came to: the status and the body.
type Answer = (u16, Value);

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.http_status_as_error(false).timeout_global(Some(Duration::from_secs(60))).build().into()
}

fn post(agent: &ureq::Agent, url: &str, key: Option<&str>, body: &str) -> Answer {
    let request = agent.post(url);
    let request = match key {
        Some(key) => request.header("Idempotency-Key", format!("\"{key}\"")),
        None => request,
    };
    let mut answer = request.send(body).unwrap_or_else(|why| panic!("{url}: {why}"));
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    (answer.status().as_u16(), json(&text))
}

fn at(answer: &Value) -> (String, u64) {
    let at = answer["at"].as_str().unwrap_or_else(|| panic!("no position: {answer}"));
    let (epoch, offset) = at.split_once('.').expect("an epoch and an offset");
    (epoch.to_owned(), offset.parse().expect("a number"))
}

impl Cluster {
    fn end(&self, node: usize, channel: &str) -> Answer {
        post(&agent(), &self.url(node, &format!("/c/{channel}?close=1")), None, "")
    }

    /// Publishes on a node until it is told that the channel has ended, and gives what was taken: text and
    /// position. What is refused is counted.
    fn publish_to_the_end(
        &self,
        node: usize,
        channel: &str,
        name: &str,
    ) -> (Vec<(String, u64)>, u32) {
        let (agent, url) = (agent(), self.url(node, &format!("/c/{channel}")));
        let (mut taken, mut refused, mut number) = (Vec::new(), 0, 0);
        while refused < 3 {
            let text = format!("{name} {number}");
            number += 1;
            let key = (number % 2 == 0).then_some(&*text);
            match post(&agent, &url, key, &text) {
                (201, answer) => {
                    assert_eq!(refused, 0, "{text} was taken behind the end");
                    taken.push((text, at(&answer).1));
                }
                (409, answer) if answer["code"] == "ended" => refused += 1,
                // It may have been taken: with its key it is known what became of it.
                (503, _) if key.is_some() => {
                    let outcome = eventually(format!("an outcome of {text}"), || {
                        match post(&agent, &url, key, &text) {
                            (201, answer) => Ok(Some(at(&answer).1)),
                            (409, _) => Ok(None),
                            other => Err(other),
                        }
                    });
                    match outcome {
                        Some(at) => taken.push((text, at)),
                        None => refused += 1,
                    }
                }
                (503, _) => number -= 1,
                other => panic!("{text}: {other:?}"),
            }
        }
        (taken, refused)
    }

    /// Every node shows these messages and then the end.
    fn assert_ended(&self, channel: &str, texts: &[&str], end: &str) {
        for node in 0..3 {
            let page = self.poll(node, channel, "after=earliest&limit=1000");
            let shown: Vec<_> = messages(&page).into_iter().map(|(text, _)| text).collect();
            assert_eq!(shown, texts, "on node {node}");
            assert_eq!((&page["at"], &page["end"]), (&end.into(), &true.into()), "on node {node}");
            let (status, said) =
                post(&agent(), &self.url(node, &format!("/c/{channel}")), None, "late");
            assert_eq!((status, &said["code"]), (409, &"ended".into()), "on node {node}");
            assert_eq!(self.end(node, channel).1["at"], end, "it has ended once");
        }
    }
}

/// Publishers on each node, of which none knows of the end that another is given; and ends on each node at once.
#[test]
fn an_end_has_one_place_among_what_all_nodes_publish() {
    let cluster = Cluster::start();
    for round in 0..8 {
        let channel = format!("race-{round}");
        let mut stream =
            Stream::open(&[&cluster.url(1, &format!("/c/{channel}?stream=sse&after=earliest"))]);
        let (published, ends) = thread::scope(|threads| {
            let (cluster, channel) = (&cluster, &*channel);
            let publishers: Vec<_> = (0..9)
                .map(|number| {
                    let name = format!("{number}.");
                    threads.spawn(move || cluster.publish_to_the_end(number % 3, channel, &name))
                })
                .collect();
            thread::sleep(Duration::from_millis(40));
            let ends = [0, 1, 2].map(|node| threads.spawn(move || cluster.end(node, channel)));
            let ends = ends.map(|end| end.join().expect("an end"));
            let published = publishers.into_iter().map(|it| it.join().expect("a publisher").0);
            (published.flatten().collect::<Vec<_>>(), ends)
        });
        assert!(ends.iter().all(|end| *end == ends[0] && end.0 == 200), "{ends:?}");
        let (end, offset) = (ends[0].1["at"].as_str().expect("a position"), at(&ends[0].1).1);
        let mut published = published;
        published.sort_unstable_by_key(|(_, offset)| *offset);
        assert!(published.last().is_none_or(|(_, last)| *last < offset), "{published:?} {end}");
        let newest = published.len().saturating_sub(1000);
        let texts: Vec<_> = published[newest..].iter().map(|(text, _)| &**text).collect();
        cluster.assert_ended(&channel, &texts, end);
        // One that has read all the while has had the same.
        let read = stream.until(&format!("\"at\":\"{end}\",\"end\":true")).to_owned();
        let read: Vec<_> = read.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let all: Vec<_> = published.iter().map(|(text, _)| &**text).collect();
        assert_eq!(read[..read.len() - 1], all);
    }
}

#[test]
fn an_end_holds_over_a_restart_of_all_nodes_and_all_servers() {
    let mut cluster = Cluster::start();
    cluster.publish(0, "chat", "last words");
    let (status, ended) = cluster.end(1, "chat");
    assert_eq!(status, 200, "{ended}");
    let end = ended["at"].as_str().expect("a position").to_owned();
    let (_, other) = cluster.end(2, "other");
    for restarts_servers in [false, true] {
        for node in &mut cluster.nodes {
            node.terminate();
            assert!(node.wait().success());
        }
        if restarts_servers {
            (0..3).for_each(|server| cluster.nats.kill(server));
            cluster.nats.start_all();
        }
        cluster.nodes = [(); 3].map(|()| node(&cluster.nats, &["--drain", "3s"]));
        // The first that is asked has read nothing of the channel.
        let (status, said) = post(&agent(), &cluster.url(2, "/c/chat"), None, "late");
        assert_eq!((status, &said["code"]), (409, &"ended".into()));
        cluster.assert_ended("chat", &["last words"], &end);
    }
    let _ = sockeye_tests::curl::curl(&["-X", "DELETE", &cluster.url(0, "/c/chat")]);
    let anew = cluster.publish(1, "chat", "anew");
    for node in 0..3 {
        let page = cluster.poll(node, "chat", "after=earliest");
        assert_eq!(messages(&page), [("anew".to_owned(), anew.clone())], "on node {node}");
        assert_eq!(page.get("end"), None, "on node {node}");
    }
    cluster.assert_ended("other", &[], other["at"].as_str().expect("a position"));
}

/// The leader of the stream dies while channels end and others are opened again.
#[test]
fn ends_have_one_place_though_the_leader_is_killed() {
    let mut cluster = Cluster::start();
    cluster.publish(0, "chat", "before");
    let stop = AtomicBool::new(false);
    let streams = ["sockeye_c0", "sockeye_c1"];
    let urls: Vec<_> = (0..3).map(|node| cluster.url(node, "")).collect();
    let rounds = thread::scope(|threads| {
        let nodes: Vec<_> = (0..3)
            .map(|number| {
                let (urls, stop) = (&urls, &stop);
                threads.spawn(move || rounds(urls, number, stop))
            })
            .collect();
        for stream in &streams {
            thread::sleep(Duration::from_millis(700));
            let leader = cluster.nats.leader_of(stream);
            cluster.nats.kill(leader);
            let _ = cluster.nats.leader_of(stream);
            cluster.nats.start_one(leader);
            cluster.nats.wait_healthy();
        }
        stop.store(true, SeqCst);
        nodes.into_iter().map(|node| node.join().expect("rounds")).collect::<Vec<_>>()
    });
    let mut count = 0;
    for (channel, texts, end) in rounds.into_iter().flatten() {
        let texts: Vec<_> = texts.iter().map(|text| &**text).collect();
        cluster.assert_ended(&channel, &texts, &end);
        count += 1;
    }
    assert!(count >= 6, "{count} channels have ended");
}

/// Publishes on one channel after the other, ends it at another node, publishes behind the end at a third one; each
/// second channel is deleted and ended once more. Gives what is to be seen of each.
fn rounds(urls: &[String], first: usize, stop: &AtomicBool) -> Vec<(String, Vec<String>, String)> {
    let agent = agent();
    let (mut done, mut round) = (Vec::new(), 0);
    while !stop.load(SeqCst) {
        let channel = format!("rounds-{first}-{round}");
        let url = |node: usize| format!("{}/c/{channel}", urls[(first + node) % 3]);
        let mut texts = Vec::new();
        for time in 0..=(round % 2) {
            if time > 0 {
                eventually("the channel is deleted", || {
                    let answer = agent.delete(url(1)).call().map_err(|why| why.to_string())?;
                    if answer.status() == 204 { Ok(()) } else { Err(answer.status().to_string()) }
                });
                texts.clear();
            }
            for number in 0..3 {
                let text = format!("{channel} {time} {number}");
                eventually(format!("{text} is taken"), || {
                    match post(&agent, &url(number), Some(&text), &text) {
                        (201, _) => Ok(()),
                        other => Err(other),
                    }
                });
                texts.push(text);
            }
            let end = eventually("the channel ends", || {
                match post(&agent, &format!("{}?close=1", url(1)), None, "") {
                    (200, ended) => Ok(ended["at"].clone()),
                    other => Err(other),
                }
            });
            let behind = format!("behind {channel} {time}");
            eventually(format!("{behind} is refused"), || {
                match post(&agent, &url(2), Some(&behind), &behind) {
                    (409, said) if said["code"] == "ended" => Ok(()),
                    (201, said) => panic!("{behind} was taken at {said}, behind {end}"),
                    other => Err(other),
                }
            });
            if time == round % 2 {
                let end = end.as_str().expect("a position").to_owned();
                done.push((channel.clone(), texts.clone(), end));
            }
        }
        round += 1;
    }
    done
}
