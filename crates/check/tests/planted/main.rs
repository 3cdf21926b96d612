//! Every case is proved: a server is right except for one defect, and the case finds that. A right
//! server has no finding at all.

mod client;
mod codec;
mod defect;
mod handshake;
mod http2;
mod server;
mod session;
mod table;

use std::{collections::BTreeSet, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use defect::Defect;
use sockeye_check::{
    Accepted, CheckError, Connections, Dial, Dialing, Expect, Options, Report, Role, Stream,
    Target, Verdict, chapters, check_client, check_server,
};
use table::Row;
use tokio::net::{TcpListener, TcpStream};

const TABLES: [&[Row]; 12] = [
    table::OPENING,
    table::FRAMING,
    table::MASKING,
    table::FRAGMENTATION,
    table::CONTROL,
    table::UTF8,
    table::CLOSE,
    table::NEGOTIATION,
    table::COMPRESSION,
    table::LIMITS,
    table::ENDINGS,
    table::HTTP2,
];

struct Direct {
    http1: SocketAddr,
    http2: SocketAddr,
}

async fn connect(address: SocketAddr) -> std::io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::pin(stream))
}

impl Dial for Direct {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(connect(self.http1))
    }

    fn dial_http2(&self) -> Dialing<'_> {
        Box::pin(connect(self.http2))
    }
}

fn options(only: &[&str]) -> Options {
    let only = only.iter().map(|only| (*only).to_owned()).collect();
    Options::default().only(only).patience(Duration::from_secs(3))
}

async fn check(defect: Option<Defect>, only: &[&str]) -> Report {
    check_slowly(defect, only, Duration::from_millis(300)).await
}

/// The same with more time for what the server does to other connections.
async fn check_slowly(defect: Option<Defect>, only: &[&str], quiet: Duration) -> Report {
    let target = target(server::start(defect), http2::start(defect).await);
    let options = options(only).quiet(quiet);
    check_server(&target, &options, &|_| {}, pending()).await.expect("the server is there")
}

fn target(http1: SocketAddr, http2: SocketAddr) -> Target {
    Target {
        is_secure: false,
        authority: http1.to_string(),
        path: "/".to_owned(),
        headers: Vec::new(),
        subprotocols: Vec::new(),
        dial: Arc::new(Direct { http1, http2 }),
    }
}

/// The same for a client that connects here.
async fn check_of_client(defect: Option<Defect>, only: &[&str]) -> Report {
    check_of_clients(1, defect, only, pending()).await
}

/// The same for that many connections at a time, until `stop`.
async fn check_of_clients(
    count: usize,
    defect: Option<Defect>,
    only: &[&str],
    stop: impl Future<Output = ()>,
) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (0..count).for_each(|worker| client::start(address, defect, worker as u64));
    let options = options(only);
    let (sender, mut connections) = Connections::new();
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            if sender.send(Accepted(Box::pin(stream))).await.is_err() {
                pending::<()>().await;
            }
        }
    };
    tokio::select! {
        report = check_client(&mut connections, &options, &|_| {}, stop) => report.expect("a client"),
        () = accepting => unreachable!("it accepts without end"),
    }
}

/// Whether an id is one of these, or begins like one that ends with `*`.
fn is_one_of(id: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.split_once('*') {
        Some((begin, end)) => id.starts_with(begin) && id.ends_with(end),
        None => id == *pattern,
    })
}

/// What is not as it has to be.
fn found(report: &Report) -> BTreeSet<String> {
    let is_found = |verdict| !matches!(verdict, Verdict::Passed | Verdict::NotJudged);
    let outcomes = report.outcomes.iter().filter(|outcome| is_found(outcome.verdict));
    outcomes.map(|outcome| outcome.id.clone()).collect()
}

/// Each defect is found by the cases of its row, and by no others of their chapter.
async fn prove(rows: &'static [Row], peer: Role) {
    let (mut running, mut wrong) = (tokio::task::JoinSet::new(), String::new());
    let places = Arc::new(tokio::sync::Semaphore::new(4));
    for row in rows {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            prove_one(row, peer).await
        });
    }
    while let Some(proof) = running.join_next().await {
        wrong += &proof.expect("a proof");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What is wrong with the proof of one defect.
async fn prove_one((defect, must, may): &Row, peer: Role) -> String {
    let mut wrong = String::new();
    {
        let chapter = must[0].split_once('/').expect("a chapter").0;
        let only: &[&str] = match chapter {
            "own" => {
                &["own", "control/ping", "framing/text-of-5", "close/code-1000", "compression/"]
            }
            chapter => &[chapter],
        };
        let report = match peer {
            Role::Server if chapter == "http2" => {
                check_slowly(Some(*defect), only, Duration::from_secs(1)).await
            }
            Role::Server => check(Some(*defect), only).await,
            Role::Client => check_of_client(Some(*defect), only).await,
        };
        let found = found(&report);
        let all: Vec<_> = report.outcomes.iter().map(|outcome| outcome.id.as_str()).collect();
        for pattern in *must {
            let meant: Vec<_> = all.iter().filter(|id| is_one_of(id, &[pattern])).collect();
            let is_tried = |id: &&&&str| {
                let tried = report.outcomes.iter().find(|outcome| outcome.id == ***id);
                tried.is_some_and(|outcome| outcome.verdict != Verdict::NotJudged)
            };
            let missed: Vec<_> =
                meant.iter().filter(|id| !found.contains(***id)).filter(is_tried).collect();
            if meant.is_empty() || !missed.is_empty() {
                wrong += &format!("{defect:?} is not found by {pattern}: {missed:?}\n");
            }
        }
        for id in found.iter().filter(|id| !is_one_of(id, must) && !is_one_of(id, may)) {
            let outcome = report.outcomes.iter().find(|outcome| outcome.id == *id);
            let outcome = outcome.expect("an outcome");
            wrong += &format!(
                "{defect:?} is found by {id} too: {}\n{}",
                outcome.came,
                outcome.trace.to_text("    ")
            );
        }
    }
    wrong
}

macro_rules! prove {
    ($($name:ident $table:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                prove(table::$table, Role::Server).await;
            }
        )*
    };
}

prove! {
    defects_of_the_opening_handshake_are_found OPENING;
    defects_of_framing_are_found FRAMING;
    defects_of_masking_are_found MASKING;
    defects_of_fragmentation_are_found FRAGMENTATION;
    defects_of_control_frames_are_found CONTROL;
    defects_of_utf8_are_found UTF8;
    defects_of_the_closing_handshake_are_found CLOSE;
    defects_of_negotiation_are_found NEGOTIATION;
    defects_of_compression_are_found COMPRESSION;
    defects_of_limits_are_found LIMITS;
    defects_of_endings_are_found ENDINGS;
    defects_of_http2_are_found HTTP2;
    defects_of_its_own_frames_are_found OWN;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_at_every_bound_are_looked_at() {
    for length in
        [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20]
    {
        let report =
            check(Some(Defect::BreaksLength(length)), &["framing/text", "framing/binary"]).await;
        let found = found(&report);
        for kind in ["text", "binary"] {
            let id = format!("framing/{kind}-of-{length}");
            assert!(found.contains(&id), "{id} in {found:?}");
        }
        // Small messages are part of other cases too.
        let is_other =
            |id: &String| !id.ends_with(&format!("-of-{length}")) && !id.contains("together");
        let others: Vec<_> = found.iter().filter(|id| is_other(id)).collect();
        assert!(others.iter().all(|id| id.contains("in-bytes") || length == 0), "{others:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defects_of_clients_are_found() {
    prove(table::RESPONSE, Role::Client).await;
}

/// All chapters, also those that servers are judged by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_client_has_no_findings() {
    let report = check_of_client(None, &[]).await;
    let found = found(&report);
    assert_eq!(found, BTreeSet::new(), "{}", report.to_text(false));
    assert!(report.abilities.echoes && report.abilities.deflates);
}

/// Those that are open at the same time are cases side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_several_connections_has_each_tried() {
    let report = check_of_clients(6, None, &["framing", "utf8", "close", "own"], pending()).await;
    assert_eq!(found(&report), BTreeSet::new(), "{}", report.to_text(false));
    assert_eq!(report.counts().not_judged, 0, "{}", report.to_text(false));
    let report = check_of_clients(6, Some(Defect::NoUtf8Check), &["utf8/wrong"], pending()).await;
    assert_eq!(report.counts().broken, report.outcomes.len(), "{}", report.to_text(false));
}

/// What was found until then is told, and the rest is not called right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_is_interrupted_reports_what_it_has() {
    let (judged, mut seen) = tokio::sync::watch::channel(0);
    let stop = async move {
        let _ = seen.wait_for(|count| *count >= 20).await;
    };
    let target = target(server::start(None), http2::start(None).await);
    let options = options(&["framing"]).jobs(1);
    let count = |progress: sockeye_check::Progress| {
        let _ = judged.send(progress.done);
    };
    let report = check_server(&target, &options, &count, stop).await.expect("the server is there");
    let counts = report.counts();
    assert!(report.is_interrupted && counts.passed >= 20, "{}", report.to_text(false));
    assert_eq!(counts.passed + counts.not_judged, report.outcomes.len());
    assert!(counts.not_judged > 100, "{}", report.to_text(false));

    let soon = tokio::time::sleep(Duration::from_millis(500));
    let report = check_of_clients(1, None, &[], soon).await;
    let text = report.to_text(false);
    assert!(report.is_interrupted && text.contains("interrupted before it was tried"), "{text}");
    assert_eq!(found(&report), BTreeSet::new(), "{text}");
}

/// Before a case is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_opens_no_websocket_is_told_at_once() {
    let http2 = http2::start(None).await;
    for (defect, told) in [
        (Defect::SilentHandshake, "it answers nothing within 1s"),
        (Defect::RefusesAll, "it answers 404 Not Found to a right request; is the path right?"),
        (Defect::Redirects, "it redirects to https://example.com/ws (302 Found); check that URL"),
        (Defect::SpeaksSsh, "it answers what is not HTTP: \"SSH-2.0-planted\""),
    ] {
        let target = target(server::start(Some(defect)), http2);
        let options = options(&[]).patience(Duration::from_secs(1));
        let error = check_server(&target, &options, &|_| {}, pending()).await.err();
        let Some(CheckError::NoWebSocket(why)) = error else { panic!("{defect:?}: {error:?}") };
        assert_eq!(why, format!("no WebSocket at {}/: {told}", target.authority));
    }
}

/// Each of these servers ends with the connection of its case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_end_with_a_connection_are_found() {
    let mut running = tokio::task::JoinSet::new();
    for (defect, id) in table::STOPS {
        let only: &[&str] = match *id {
            // It is the last of all, and finds what an earlier one has left.
            "endings/serves-afterwards" => &["endings/cut", "endings/serves-afterwards"],
            _ => std::slice::from_ref(id),
        };
        running.spawn(async move {
            let report = check_slowly(Some(*defect), only, Duration::from_secs(2)).await;
            (defect, id, found(&report))
        });
    }
    while let Some(proof) = running.join_next().await {
        let (defect, id, found) = proof.expect("a proof");
        assert!(found.contains(*id), "{defect:?} is not found by {id}: {found:?}");
    }
}

/// What is right is never called broken or loose, and nothing is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_server_has_no_findings() {
    let report = check(None, &[]).await;
    assert_eq!(found(&report), BTreeSet::new(), "{}", report.to_text(false));
    // zlib has no window of 8 bits, so that this offer is declined.
    let not: Vec<_> =
        report.outcomes.iter().filter(|one| one.verdict == Verdict::NotJudged).collect();
    assert!(not.is_empty(), "{not:?}");
    assert!(report.abilities.echoes && report.abilities.deflates && !report.abilities.is_broadcast);
}

/// No case for servers without a defect that it finds.
#[test]
fn every_case_has_its_defect() {
    let lengths = ["framing/text-of-*", "framing/binary-of-*"];
    let patterns: Vec<_> = TABLES
        .into_iter()
        .chain([table::OWN, table::RESPONSE])
        .flatten()
        .flat_map(|(_, must, _)| *must)
        .chain(&lengths)
        .copied()
        .chain(table::STOPS.iter().map(|(_, id)| *id))
        .collect();
    let mut cases = chapters::all(Role::Server);
    cases.extend(chapters::all(Role::Client).into_iter().filter(|case| case.side.is_some()));
    let without: Vec<_> = cases.iter().filter(|case| !is_one_of(&case.id, &patterns)).collect();
    let without: Vec<_> = without.iter().map(|case| &case.id).collect();
    assert!(without.is_empty(), "cases without a defect: {without:#?}");
    assert!(cases.iter().any(|case| matches!(case.expect, Expect::Never(_))));
}
