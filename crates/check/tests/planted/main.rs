//! Every case is proved: a server is right except for one defect, and the case finds that. A right
//! server has no finding at all.

mod bounds;
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
    Accepted, CheckError, Connections, Dial, Dialing, Expect, Options, Outcome, Report, Role,
    Stream, Target, Verdict, chapters, check_client, check_server,
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
    Options::default().only(only).answer_timeout(Duration::from_secs(3))
}

async fn check_with(defect: Option<Defect>, options: &Options) -> Report {
    let target = target(server::start(defect), http2::start(defect).await);
    check_server(&target, options, &|_| {}, pending()).await.expect("the server is there")
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

/// The same for a client that connects here, with that many connections at a time, until `stop`.
async fn check_of_clients(
    count: usize,
    defect: Option<Defect>,
    options: &Options,
    stop: impl Future<Output = ()>,
) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (0..count).for_each(|worker| client::start(address, defect, worker as u64));
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
        report = check_client(&mut connections, options, &|_| {}, stop) => report.expect("a client"),
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

/// Each defect is found by the cases of its row, and by no others of their chapter. They wait most of the time, each
/// for its server, so that many of them do that together.
async fn prove(rows: impl Iterator<Item = &'static Row>, peer: Role) {
    let (mut running, mut wrong) = (tokio::task::JoinSet::new(), String::new());
    let places = Arc::new(tokio::sync::Semaphore::new(32));
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

/// The chapters that show a defect.
fn shown_by(chapter: &'static str) -> Vec<&'static str> {
    match chapter {
        // Wrong frames of its own show in any case: some of each kind.
        "own" => {
            vec!["own", "control/ping", "framing/text-of-5", "close/code-1000", "compression/"]
        }
        chapter => vec![chapter],
    }
}

/// Cases that wait for a deadline or move megabytes are tried with the defects that they are for alone.
fn left_out(must: &[&str], peer: Role) -> Vec<String> {
    // What is left out is left out with all that begins like it.
    let begins = |id: &str| must.iter().any(|pattern| pattern.starts_with(id));
    let is_for_others = |case: &&sockeye_check::Case| {
        (case.is_slow() || is_large(case)) && !is_one_of(&case.id, must) && !begins(&case.id)
    };
    chapters::all(peer).filter(is_for_others).map(|case| case.id.clone()).collect()
}

fn is_large(case: &sockeye_check::Case) -> bool {
    let Expect::Echo(messages) = &case.expect else { return false };
    messages.iter().map(|message| message.payload.len()).sum::<usize>() > 200_000
}

/// What is wrong with the proof of one defect.
async fn prove_one((defect, must, may): &Row, peer: Role) -> String {
    let mut wrong = String::new();
    let chapter = must[0].split_once('/').expect("a chapter").0;
    let options = options(&shown_by(chapter)).skip(left_out(must, peer)).jobs(64);
    let report = match peer {
        Role::Server if chapter == "http2" => {
            check_with(Some(*defect), &options.quiet(Duration::from_secs(1))).await
        }
        Role::Server => check_with(Some(*defect), &options).await,
        Role::Client => check_of_clients(1, Some(*defect), &options, pending()).await,
    };
    let found = found(&report);
    for pattern in *must {
        let meant = || report.outcomes.iter().filter(|outcome| is_one_of(&outcome.id, &[pattern]));
        // Of several, one that is not for this peer is one for another.
        let is_tried = |outcome: &&Outcome| outcome.verdict != Verdict::NotJudged;
        let missed: Vec<_> = meant()
            .filter(|outcome| !pattern.contains('*') || is_tried(outcome))
            .filter(|outcome| !found.contains(&outcome.id))
            .map(|outcome| format!("{}: {}", outcome.id, outcome.came))
            .collect();
        if !meant().any(|outcome| is_tried(&outcome)) || !missed.is_empty() {
            wrong += &format!("{defect:?} is not found by {pattern}: {missed:?}\n");
        }
    }
    let is_expected = |outcome: &&Outcome| {
        !found.contains(&outcome.id) || is_one_of(&outcome.id, must) || is_one_of(&outcome.id, may)
    };
    for outcome in report.outcomes.iter().filter(|outcome| !is_expected(outcome)) {
        let Outcome { id, came, trace, .. } = outcome;
        wrong += &format!("{defect:?} is found by {id} too: {came}\n{}", trace.to_text("    "));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defects_of_servers_are_found() {
    prove(TABLES.into_iter().chain([table::OWN]).flatten(), Role::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_at_every_bound_are_looked_at() {
    const MIB: usize = 1 << 20;
    let lengths = [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, MIB];
    let mut running = tokio::task::JoinSet::new();
    for length in lengths {
        let own = [format!("framing/text-of-{length}"), format!("framing/binary-of-{length}")];
        running.spawn(async move {
            let own = own.each_ref().map(String::as_str);
            let options =
                options(&["framing/text", "framing/binary"]).skip(left_out(&own, Role::Server));
            let report = check_with(Some(Defect::BreaksLength(length)), &options).await;
            let found = found(&report);
            assert!(own.iter().all(|id| found.contains(*id)), "{own:?} in {found:?}");
            // Small messages are part of other cases too.
            let is_other = |id: &&String| !own.contains(&id.as_str()) && !id.contains("together");
            let others: Vec<_> = found.iter().filter(is_other).collect();
            let is_shared = |id: &&String| id.contains("in-bytes");
            assert!(others.iter().all(|id| is_shared(id) || length == 0), "{others:?}");
        });
    }
    while let Some(proof) = running.join_next().await {
        proof.expect("a proof");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defects_of_clients_are_found() {
    prove(table::RESPONSE.iter(), Role::Client).await;
}

/// All chapters, also those that servers are judged by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_client_has_no_findings() {
    let report = check_of_clients(1, None, &options(&[]), pending()).await;
    let found = found(&report);
    assert_eq!(found, BTreeSet::new(), "{}", report.to_text(false));
    assert!(report.abilities.echoes && report.abilities.deflates);
}

/// Those that are open at the same time are cases side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_several_connections_has_each_tried() {
    let some = options(&["framing", "utf8", "close", "own"]);
    let report = check_of_clients(6, None, &some, pending()).await;
    assert_eq!(found(&report), BTreeSet::new(), "{}", report.to_text(false));
    assert_eq!(report.counts().not_judged, 0, "{}", report.to_text(false));
    let wrong = options(&["utf8/wrong"]);
    let report = check_of_clients(6, Some(Defect::NoUtf8Check), &wrong, pending()).await;
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
    let report = check_of_clients(1, None, &self::options(&[]), soon).await;
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
        let options = options(&[]).answer_timeout(Duration::from_secs(1));
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
            let options = options(only).quiet(Duration::from_secs(2));
            let report = check_with(Some(*defect), &options).await;
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
    let report = check_with(None, &options(&[])).await;
    assert_eq!(found(&report), BTreeSet::new(), "{}", report.to_text(false));
    // zlib has no window of 8 bits, so that this offer is declined.
    let not: Vec<_> =
        report.outcomes.iter().filter(|one| one.verdict == Verdict::NotJudged).collect();
    assert!(not.is_empty(), "{not:?}");
    assert!(report.abilities.echoes && report.abilities.deflates && !report.abilities.is_broadcast);
}

/// One that speaks none of the subprotocols that it is offered may refuse (RFC 6455 §4.2.2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_its_subprotocol_has_no_findings() {
    let report = check_with(Some(Defect::WantsSubprotocol), &options(&["opening"])).await;
    assert_eq!(found(&report), BTreeSet::new(), "{}", report.to_text(false));
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
    let of_clients = chapters::all(Role::Client).filter(|case| case.side.is_some());
    let cases: Vec<_> = chapters::all(Role::Server).chain(of_clients).collect();
    let without: Vec<_> = cases.iter().filter(|case| !is_one_of(&case.id, &patterns)).collect();
    let without: Vec<_> = without.iter().map(|case| &case.id).collect();
    assert!(without.is_empty(), "cases without a defect: {without:#?}");
    assert!(cases.iter().any(|case| matches!(case.expect, Expect::Never(_))));
}
