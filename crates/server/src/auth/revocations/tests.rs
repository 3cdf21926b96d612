use std::time::Duration;

use super::*;

fn at(seconds: u64) -> NumericDate {
    NumericDate(Duration::from_secs(seconds))
}

fn claims(jti: Option<&str>, sub: Option<&str>, iat: Option<u64>) -> Claims {
    Claims {
        jti: jti.map(str::to_owned),
        sub: sub.map(str::to_owned),
        iat: iat.map(at),
        ..Claims::default()
    }
}

#[tokio::test]
async fn a_hundred_thousand_are_kept_and_those_that_are_over_make_room() {
    assert_eq!(MAX, 100_000);
    let revocations = Arc::new(Revocations::default());
    let now = NumericDate::now();
    let soon = NumericDate(now.0 + Duration::from_secs(5));
    for number in 0..MAX {
        let until = if number == 7 { soon } else { at(4_102_444_800) };
        let one = Revocation::token(number.to_string()).until(until);
        revocations.table.write().unwrap().add(&one, now).unwrap();
    }
    let more = || revocations.add(Revocation::token("more"));
    assert!(matches!(more().await, Err(RevokeError::Full)));
    // Those of before can be changed, and all together are revoked by one.
    revocations.add(Revocation::token("8")).await.unwrap();
    revocations.add(Revocation::issued_before(at(1))).await.unwrap();
    let later = NumericDate(soon.0 + Duration::from_secs(1));
    let one = Revocation::token("more");
    revocations.table.write().unwrap().add(&one, later).unwrap();
    assert_eq!(revocations.len(), MAX);
}

#[tokio::test]
async fn a_revocation_is_kept_until_its_exp() {
    let mut table = Table::default();
    let (ann, ben) =
        (claims(Some("7"), Some("ann"), Some(10)), claims(Some("8"), Some("ben"), Some(10)));
    for one in [
        Revocation::token("7").until(at(100)),
        Revocation::subject("ben").before(at(11)).until(at(100)),
    ] {
        table.add(&one, at(50)).unwrap();
    }
    let are_for = |table: &Table, claims: &Claims, now| {
        let by_id = table.tokens.get(claims.jti.as_deref().unwrap());
        let by_subject = table.subjects.get(claims.sub.as_deref().unwrap());
        by_id.is_some_and(|until| is_kept(*until, now))
            || by_subject.is_some_and(|rule| rule.is_for(claims, now))
    };
    for claims in [&ann, &ben] {
        assert!(are_for(&table, claims, at(99)) && !are_for(&table, claims, at(100)));
    }
    assert_eq!((table.list(at(99)).len(), table.list(at(100)).len()), (2, 0));
    // For ever is later than any time.
    table.add(&Revocation::token("7"), at(60)).unwrap();
    assert!(are_for(&table, &ann, at(4_000_000_000)));
}

#[tokio::test(start_paused = true)]
async fn many_at_once_wake_what_is_open_once() {
    let revocations = Arc::new(Revocations::default());
    let mut changed = revocations.changed.subscribe();
    let waiting = {
        let revocations = Arc::clone(&revocations);
        tokio::spawn(async move { revocations.come_for(&claims(Some("99"), None, None)).await })
    };
    for number in 0..100 {
        revocations.add(Revocation::token(number.to_string())).await.unwrap();
    }
    waiting.await.unwrap();
    changed.changed().await.unwrap();
    assert!(!changed.has_changed().unwrap());
}

#[tokio::test]
async fn an_exp_that_no_clock_reaches_is_for_ever() {
    let revocations = Arc::new(Revocations::default());
    for exp in ["1e300", "99999999999999999999", "18446744073709551615"] {
        let json = format!(r#"{{"jti":"{exp}","exp":{exp}}}"#);
        revocations.add(Revocation::from_json(json.as_bytes()).unwrap()).await.unwrap();
        assert!(revocations.are_for(&claims(Some(exp), None, None)), "{exp}");
    }
}

#[test]
fn what_is_open_is_told_by_a_runtime_that_ends_at_once() {
    let revocations = Arc::new(Revocations::default());
    let mut changed = revocations.changed.subscribe();
    for jti in ["7", "8"] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(revocations.add(Revocation::token(jti))).unwrap();
        drop(runtime);
        assert!(changed.has_changed().unwrap(), "{jti}");
        changed.mark_unchanged();
    }
}

#[cfg(feature = "fjall")]
mod on_disk {
    use std::fs;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_line_that_was_not_written_whole_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revoked");
        fs::write(&file, "{\"jti\":\"7\"}\n{\"jti\":\"8\"}\n{\"jti\":\"9").unwrap();
        let revocations = Arc::new(Revocations::kept_in(folder.path()).unwrap());
        assert_eq!(revocations.len(), 2);
        revocations.add(Revocation::token("10")).await.unwrap();
        assert_eq!(Revocations::kept_in(folder.path()).unwrap().len(), 3);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() == 3, "{text}");
    }

    #[tokio::test]
    async fn a_disk_that_is_busy_keeps_none_from_being_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let revocations = Arc::new(Revocations::kept_in(folder.path()).unwrap());
        let busy = Arc::clone(revocations.file.as_ref().unwrap()).lock_owned().await;
        let mut adding = Box::pin(revocations.add(Revocation::token("7")));
        assert!(adding.as_mut().now_or_never().is_none());
        assert!(revocations.are_for(&claims(Some("7"), None, None)));
        drop(busy);
        adding.await.unwrap();
        assert_eq!(Revocations::kept_in(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_line_may_end_within_a_character() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{\"sub\":\"ann\"}\n{\"sub\":\"ren\u{e9}";
        fs::write(folder.path().join("revoked"), &text.as_bytes()[..text.len() - 1]).unwrap();
        assert_eq!(Revocations::kept_in(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_file_with_something_else_is_an_error_that_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("revoked"), "{\"jti\":\"7\"}\nhello\n{\"jti\":\"8\"}\n")
            .unwrap();
        let refused = Revocations::kept_in(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("revoked") && refused.contains("line 2"), "{refused}");
    }

    #[tokio::test]
    async fn many_lines_of_few_are_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let revocations = Arc::new(Revocations::kept_in(folder.path()).unwrap());
        let now = NumericDate::now().0.as_secs();
        for number in 0..1100 {
            let one = Revocation::subject("ann").before(at(now - 2000 + number));
            revocations.add(one).await.unwrap();
        }
        let text = fs::read_to_string(folder.path().join("revoked")).unwrap();
        assert!(text.lines().count() <= 101, "{}", text.lines().count());
        let again = Revocations::kept_in(folder.path()).unwrap();
        let is_revoked = |iat| again.are_for(&claims(None, Some("ann"), Some(iat)));
        assert!(is_revoked(now - 902) && !is_revoked(now - 901));
    }
}
