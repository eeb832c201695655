use std::time::{SystemTime, UNIX_EPOCH};

use aar_model::{CertificateInfo, Fingerprint, FingerprintPrefix, Role, TrustChange};

use crate::{NewCertificate, Standing, Trust, TrustError};

/// Two certificates whose fingerprints have their first 8 digits in common.
const TWINS: [&[u8]; 2] = [b"certificate 20418", b"certificate 75729"];

/// The promises of [`Trust`].
pub async fn trust<K, T: Trust>(make: impl AsyncFn() -> (K, T)) {
    let (_kept, store) = make().await;
    what_is_added_is_trusted_at_once(&store).await;
    let (_kept, store) = make().await;
    adding_again_gathers_sources_of_which_the_greatest_role_counts(&store).await;
    let (_kept, store) = make().await;
    what_one_source_withdraws_stays_as_others_gave_it(&store).await;
    let (_kept, store) = make().await;
    what_is_removed_is_forgotten_and_may_come_back(&store).await;
    let (_kept, store) = make().await;
    revoking_is_final(&store).await;
    let (_kept, store) = make().await;
    a_prefix_must_fit_exactly_one_certificate(&store).await;
    let (_kept, store) = make().await;
    certificates_are_listed_by_role_and_name(&store).await;
    let (_kept, store) = make().await;
    the_last_use_is_noted_to_the_minute(&store).await;
}

async fn what_is_added_is_trusted_at_once(store: &impl Trust) {
    let fingerprint = Fingerprint::of(b"one");
    assert_eq!(store.standing(&fingerprint), Standing::Unknown);
    let before = now();

    let (added, change) = store.add(new(b"one", "first", Role::Publisher, "operator")).await.unwrap();

    assert_eq!(change, TrustChange::Added);
    assert_eq!(store.standing(&fingerprint), Standing::Trusted(Role::Publisher));
    assert!((before..=now()).contains(&added.added_at));
    let expected = CertificateInfo {
        certificate: "b25l".into(),
        fingerprint,
        role: Role::Publisher,
        name: "first".into(),
        sources: vec!["operator".into()],
        added_at: added.added_at,
        last_seen_at: None,
        revoked_at: None,
    };
    assert_eq!(added, expected);
    assert_eq!(store.get(&fingerprint.into()).unwrap(), expected);
    assert_eq!(store.list(false), [expected]);
    assert_eq!(store.list(true), []);
    assert_eq!(store.standing(&Fingerprint::of(b"two")), Standing::Unknown);
}

async fn adding_again_gathers_sources_of_which_the_greatest_role_counts(store: &impl Trust) {
    let fingerprint = Fingerprint::of(b"one");
    let (first, _) = store.add(new(b"one", "first", Role::Client, "operator")).await.unwrap();

    let (same, change) = store.add(new(b"one", "first", Role::Client, "operator")).await.unwrap();
    assert_eq!((same, change), (first.clone(), TrustChange::Unchanged));

    let (merged, change) = store.add(new(b"one", "first", Role::Client, "relation:1")).await.unwrap();
    assert_eq!(change, TrustChange::Unchanged);
    assert_eq!(merged.sources, ["operator", "relation:1"]);

    let (promoted, change) = store.add(new(b"one", "first", Role::Publisher, "relation:2")).await.unwrap();
    assert_eq!(change, TrustChange::RoleChanged);
    assert_eq!(promoted.sources, ["operator", "relation:1", "relation:2"]);
    assert_eq!((promoted.role, promoted.added_at), (Role::Publisher, first.added_at));
    assert_eq!(store.standing(&fingerprint), Standing::Trusted(Role::Publisher));

    let (_, change) = store.add(new(b"one", "first", Role::Client, "operator")).await.unwrap();
    assert_eq!(change, TrustChange::Unchanged);
    assert_eq!(store.standing(&fingerprint), Standing::Trusted(Role::Publisher));

    let (_, change) = store.add(new(b"one", "first", Role::Client, "relation:2")).await.unwrap();
    assert_eq!(change, TrustChange::RoleChanged);
    assert_eq!(store.standing(&fingerprint), Standing::Trusted(Role::Client));
    assert_eq!(store.list(false).len(), 1);
}

async fn what_one_source_withdraws_stays_as_others_gave_it(store: &impl Trust) {
    let fingerprint = Fingerprint::of(b"one");
    let all = prefix(fingerprint, 16);
    for (source, role) in
        [("operator", Role::Client), ("relation:1", Role::Publisher), ("relation:2", Role::Client)]
    {
        store.add(new(b"one", "first", role, source)).await.unwrap();
    }

    let stranger = store.withdraw(&all, "relation:3").await.unwrap();
    assert_eq!((stranger.sources.len(), stranger.role), (3, Role::Publisher));
    let left = store.withdraw(&all, "relation:2").await.unwrap();
    assert_eq!((left.sources, left.role), (vec!["operator".into(), "relation:1".into()], Role::Publisher));
    let left = store.withdraw(&all, "relation:1").await.unwrap();
    assert_eq!((left.sources, left.role), (vec!["operator".into()], Role::Client));
    assert_eq!(store.standing(&fingerprint), Standing::Trusted(Role::Client));
    let left = store.withdraw(&all, "operator").await.unwrap();
    assert_eq!((left.sources.len(), left.fingerprint), (0, fingerprint));
    assert_eq!(store.standing(&fingerprint), Standing::Unknown);
    assert!(matches!(store.withdraw(&all, "operator").await, Err(TrustError::NotFound(_))));

    store.add(new(b"one", "first", Role::Client, "relation:1")).await.unwrap();
    store.revoke(&all).await.unwrap();
    assert!(matches!(store.withdraw(&all, "relation:1").await, Err(TrustError::Revoked(_))));
    assert_eq!(store.standing(&fingerprint), Standing::Revoked);
}

async fn what_is_removed_is_forgotten_and_may_come_back(store: &impl Trust) {
    let fingerprint = Fingerprint::of(b"one");
    store.add(new(b"one", "first", Role::Client, "operator")).await.unwrap();
    store.add(new(b"two", "second", Role::Client, "operator")).await.unwrap();

    let removed = store.remove(&prefix(fingerprint, 8)).await.unwrap();

    assert_eq!((removed.fingerprint, removed.name.as_str()), (fingerprint, "first"));
    assert_eq!(store.standing(&fingerprint), Standing::Unknown);
    assert_eq!(store.list(false).len(), 1);
    assert!(matches!(store.get(&fingerprint.into()), Err(TrustError::NotFound(_))));
    assert!(matches!(store.remove(&fingerprint.into()).await, Err(TrustError::NotFound(_))));
    let (again, change) = store.add(new(b"one", "again", Role::Publisher, "relation:1")).await.unwrap();
    assert_eq!((change, again.name.as_str()), (TrustChange::Added, "again"));
    assert_eq!(again.sources, ["relation:1"]);
}

async fn revoking_is_final(store: &impl Trust) {
    let fingerprint = Fingerprint::of(b"one");
    let (added, _) = store.add(new(b"one", "first", Role::Publisher, "operator")).await.unwrap();
    let before = now();

    let revoked = store.revoke(&prefix(fingerprint, 12)).await.unwrap();

    assert_eq!(store.standing(&fingerprint), Standing::Revoked);
    assert!(revoked.revoked_at.is_some_and(|at| (before..=now()).contains(&at)));
    assert_eq!(CertificateInfo { revoked_at: None, ..revoked.clone() }, added);
    assert_eq!(store.list(false), []);
    assert_eq!(store.list(true), std::slice::from_ref(&revoked));
    assert_eq!(store.get(&fingerprint.into()).unwrap(), revoked);

    assert_eq!(store.revoke(&fingerprint.into()).await.unwrap(), revoked);
    for role in [Role::Client, Role::Publisher] {
        let refused = store.add(new(b"one", "first", role, "operator")).await;
        assert!(matches!(refused, Err(TrustError::Revoked(which)) if which == fingerprint));
    }
    let refused = store.remove(&fingerprint.into()).await;
    assert!(matches!(refused, Err(TrustError::Revoked(which)) if which == fingerprint));
    assert_eq!(store.standing(&fingerprint), Standing::Revoked);
    assert_eq!(store.list(true), [revoked]);
    let stranger = prefix(Fingerprint::of(b"two"), 64);
    assert!(matches!(store.revoke(&stranger).await, Err(TrustError::NotFound(_))));
}

async fn a_prefix_must_fit_exactly_one_certificate(store: &impl Trust) {
    let [one, two] = TWINS.map(Fingerprint::of);
    let shared = prefix(one, 8);
    assert!(shared.matches(&two));
    assert!(matches!(store.get(&shared), Err(TrustError::NotFound(ref given)) if *given == shared));
    for der in TWINS {
        store.add(new(der, "twin", Role::Client, "operator")).await.unwrap();
    }

    let ambiguous =
        |answer| matches!(answer, Err(TrustError::Ambiguous { prefix, count: 2 }) if prefix == shared);
    assert!(ambiguous(store.get(&shared)));
    assert!(ambiguous(store.remove(&shared).await));
    assert!(ambiguous(store.revoke(&shared).await));
    assert_eq!(store.list(false).len(), 2);
    assert_eq!(store.get(&two.into()).unwrap().fingerprint, two);

    // A revoked one counts too: whoever revokes must not hit another by a typing error.
    store.revoke(&one.into()).await.unwrap();
    assert!(ambiguous(store.revoke(&shared).await));
    store.remove(&two.into()).await.unwrap();
    assert_eq!(store.get(&shared).unwrap().fingerprint, one);
}

async fn certificates_are_listed_by_role_and_name(store: &impl Trust) {
    let all = [
        (Role::Client, "a"),
        (Role::Client, "b"),
        (Role::Client, "c"),
        (Role::Publisher, "a"),
        (Role::Publisher, "b"),
    ];
    for (role, name) in all.into_iter().rev() {
        store.add(new(format!("{role} {name}").as_bytes(), name, role, "operator")).await.unwrap();
    }

    let listed =
        |revoked| store.list(revoked).into_iter().map(|known| (known.role, known.name)).collect::<Vec<_>>();
    let expected = all.map(|(role, name)| (role, name.to_owned()));
    assert_eq!(listed(false), expected);
    for known in store.list(false) {
        store.revoke(&known.fingerprint.into()).await.unwrap();
    }
    assert_eq!(listed(true), expected);
    assert_eq!(listed(false), []);
}

async fn the_last_use_is_noted_to_the_minute(store: &impl Trust) {
    let fingerprint = Fingerprint::of(b"one");
    store.add(new(b"one", "first", Role::Client, "operator")).await.unwrap();
    store.note_seen(&Fingerprint::of(b"stranger"));
    store.save_seen().await.unwrap();
    assert_eq!(store.get(&fingerprint.into()).unwrap().last_seen_at, None);

    let before = now() / 60 * 60;
    store.note_seen(&fingerprint);
    let seen = store.get(&fingerprint.into()).unwrap().last_seen_at.unwrap();
    assert!(seen % 60 == 0 && (before..=now()).contains(&seen));

    store.save_seen().await.unwrap();
    assert_eq!(store.list(false)[0].last_seen_at, Some(seen));
    let (promoted, _) = store.add(new(b"one", "first", Role::Publisher, "operator")).await.unwrap();
    assert_eq!(promoted.last_seen_at, Some(seen));
    assert_eq!(store.revoke(&fingerprint.into()).await.unwrap().last_seen_at, Some(seen));
    assert_eq!(store.list(false), []);
}

fn new(der: &[u8], name: &str, role: Role, source: &str) -> NewCertificate {
    NewCertificate { der: der.to_vec(), name: name.into(), role, source: source.into() }
}

/// The first `digits` digits, in upper case, as people may type them.
fn prefix(fingerprint: Fingerprint, digits: usize) -> FingerprintPrefix {
    fingerprint.to_string()[..digits].to_ascii_uppercase().parse().unwrap()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
