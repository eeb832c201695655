//! AMS becomes as the registry says, whatever happens on the way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use aar_ams::{Ams, AmsTarget};
use aar_client::ImageAddress;
use aar_model::{Architecture, Digest};
use aar_sync::{Package, Plan, Step, Target};
use aar_tests::ams_server::{AmsServer, Packed, package};
use serde_json::{Map, Value, json};

use crate::common::Fixture;

#[tokio::test]
async fn versions_are_made_in_their_order_and_published() {
    let it = Fixture::new();
    let all: Vec<_> = (1..=3).map(|version| it.registry.publish_package("game", version)).collect();
    let tool = it.registry.publish("tool", 7, package(Packed::Zip, "tool", "", b"zipped"));
    it.pull_all().await;
    assert_eq!(it.published("game"), all);
    assert_eq!(it.published("tool"), [tool]);
    assert_eq!(std::fs::read_dir(it.state().join("packages")).unwrap().count(), 0);

    let next = it.registry.publish_package("game", 10);
    it.pull_all().await;
    assert_eq!(it.published("game"), [&all[1..], &[next]].concat(), "AMS keeps three");
    let (changes, fetches) = (it.ams.changes(), it.registry.fetches());
    it.pull_all().await;
    assert_eq!((it.ams.changes(), it.registry.fetches()), (changes, fetches), "there is nothing to do");
}

#[tokio::test]
async fn an_ams_that_publishes_by_itself_gets_the_same() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.auto_publish = true);
    let game = it.registry.publish_package("game", 1);
    it.pull_all().await;
    assert_eq!(it.published("game"), [game]);
    assert_eq!(it.ams.changes(), ["POST /1.0/applications"]);
}

#[tokio::test]
async fn what_the_registry_has_no_more_is_removed() {
    let it = Fixture::new();
    it.registry.publish_package("game", 1);
    let second = it.registry.publish_package("game", 2);
    it.registry.publish_package("tool", 1);
    it.pull_all().await;
    it.registry.withdraw("game", 1);
    it.registry.delete("tool");
    it.pull_all().await;
    assert_eq!(it.published("game"), [second]);
    assert_eq!(it.ams.application("tool"), None);

    // AMS has no application without a version: a new one takes its place.
    it.registry.withdraw("game", 2);
    let third = it.registry.publish_package("game", 3);
    it.pull_all().await;
    assert_eq!(it.published("game"), [third]);
    it.registry.delete("game");
    it.pull_all().await;
    assert!(it.ams.published().is_empty());
    assert_eq!(std::fs::read_dir(it.state().join("applications")).unwrap().count(), 0);
}

#[tokio::test]
async fn another_image_under_the_same_version_takes_its_place() {
    let it = Fixture::new();
    it.registry.publish_package("game", 1);
    it.pull_all().await;
    let other = it.registry.publish("game", 1, package(Packed::TarBzip2, "game", "", b"made anew"));
    it.pull_all().await;
    assert_eq!(it.published("game"), [other]);
}

#[tokio::test]
async fn changed_fields_are_followed_and_what_people_set_on_ams_stays() {
    let it = Fixture::new();
    it.registry.publish_package("game", 1);
    it.registry.set("game", "tags", json!(["games"]));
    it.registry.set("game", "instance_type", json!("a4.3"));
    it.registry.set("game", "boot_package", json!("com.example.game"));
    it.pull_all().await;
    let tags = |expected: Value| assert_eq!(it.ams.application("game").unwrap()["tags"], expected);
    tags(json!(["games"]));
    let ams = Ams::unix(it.ams.socket());
    let id = it.ams.application("game").unwrap()["id"].as_str().unwrap().to_owned();
    let own = json!({"instance-type": "a10.3"}).as_object().unwrap().clone();
    ams.change(&id, &own).await.unwrap();

    it.registry.set("game", "tags", json!(["games", "beta"]));
    it.pull_all().await;
    tags(json!(["games", "beta"]));
    it.registry.set("game", "tags", json!([]));
    it.pull_all().await;
    tags(json!([]));
    assert_eq!(it.ams.application("game").unwrap()["instance_type"], "a10.3");

    it.registry.set("game", "instance_type", json!("unknown"));
    assert_eq!(it.failures().await, ["invalid argument: 'instance-type'"]);
    it.registry.set("game", "instance_type", json!("a2.3"));
    it.pull_all().await;
    assert_eq!(it.ams.application("game").unwrap()["instance_type"], "a2.3");
}

#[tokio::test]
async fn what_ams_refuses_is_reported_and_tried_again_while_the_rest_goes_on() {
    let it = Fixture::new();
    let first = it.registry.publish_package("game", 1);
    let bad = it.registry.publish_package("game", 2);
    let broken = it.registry.publish_package("broken", 1);
    let fine = it.registry.publish_package("fine", 1);
    it.ams.set(|ams| ams.failing = vec![bad.clone(), broken.clone()]);
    for _ in 0..2 {
        let failures = it.failures().await;
        assert_eq!(failures, ["AMS could not do it: bootstrap failed: boot package is missing"; 2]);
        assert_eq!((it.published("game"), it.published("fine")), (vec![first.clone()], vec![fine.clone()]));
        assert_eq!(it.ams.application("broken"), None, "what has failed does not stay");
        assert_eq!(it.ams.application("game").unwrap()["versions"].as_array().unwrap().len(), 1);
    }
    it.ams.set(|ams| ams.failing.clear());
    it.pull_all().await;
    assert_eq!((it.published("game"), it.published("broken")), (vec![first, bad], vec![broken]));
}

#[tokio::test]
async fn a_version_waits_for_older_ones_that_could_not_be_made() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.failing_answers = 1);
    let mut all: Vec<_> = (1..=2).map(|version| it.registry.publish_package("game", version)).collect();
    let held_back = |version, older| {
        format!(
            "version {version} of game waits for version {older}, as AMS launches what was made last: withdraw that if it \
             cannot be made"
        )
    };
    assert_eq!(it.failures().await, ["database is locked".to_owned(), held_back(2, 1)]);
    it.pull_all().await;
    assert_eq!(it.published("game"), all);

    all.push(it.registry.publish_package("game", 3));
    all.push(it.registry.publish_package("game", 4));
    it.ams.set(|ams| (ams.failing, ams.max_published_versions) = (vec![all[2].clone()], 4));
    let error = "AMS could not do it: bootstrap failed: boot package is missing".to_owned();
    assert_eq!(it.failures().await, [error, held_back(4, 3)]);
    assert_eq!(it.published("game"), all[..2]);
    it.registry.withdraw("game", 3);
    all.remove(2);
    it.pull_all().await;
    assert_eq!(it.published("game"), all);
}

#[tokio::test]
async fn what_is_not_deleted_as_it_is_in_use_goes_later() {
    let it = Fixture::new();
    it.registry.publish_package("game", 1);
    it.pull_all().await;
    let id = it.ams.application("game").unwrap()["id"].as_str().unwrap().to_owned();
    it.ams.set(|ams| ams.in_use = vec![id]);
    it.registry.delete("game");
    assert_eq!(it.failures().await, ["AMS could not do it: application is in use"]);
    it.ams.set(|ams| ams.in_use.clear());
    it.pull_all().await;
    assert_eq!(it.ams.application("game"), None);
}

#[tokio::test]
async fn an_application_made_by_hand_is_never_touched() {
    let it = Fixture::new();
    it.ams.make_by_hand(package(Packed::TarBzip2, "game", "", b"by hand"));
    it.ams.make_by_hand(package(Packed::TarBzip2, "own", "", b"by hand"));
    let (game, own) = (it.ams.application("game"), it.ams.application("own"));
    it.registry.publish_package("game", 1);
    it.registry.set("game", "tags", json!(["games"]));
    let tool = it.registry.publish_package("tool", 1);
    for _ in 0..2 {
        let failures = it.failures().await;
        assert!(failures.len() == 1 && failures[0].contains("`game` that is not known"), "{failures:?}");
        assert_eq!((it.ams.application("game"), it.ams.application("own")), (game.clone(), own.clone()));
        assert_eq!(it.published("tool"), std::slice::from_ref(&tool));
    }
    it.registry.delete("game");
    it.pull_all().await;
    assert_eq!(it.ams.application("game"), game);
}

#[tokio::test]
async fn nothing_is_touched_where_the_state_is_lost() {
    let it = Fixture::new();
    it.registry.publish_package("game", 1);
    it.registry.publish_package("tool", 1);
    it.pull_all().await;
    it.ams.make_by_hand(package(Packed::TarBzip2, "own", "", b"by hand"));
    std::fs::remove_dir_all(it.state()).unwrap();
    let (changes, published) = (it.ams.changes(), it.ams.published());
    it.registry.publish_package("game", 2);
    it.registry.set("game", "tags", json!(["games"]));
    it.registry.delete("tool");
    let failures = it.failures().await;
    assert!(failures.len() == 2 && failures[0].contains("`game` that is not known"), "{failures:?}");
    assert_eq!((it.ams.changes(), it.ams.published()), (changes, published));
}

#[tokio::test]
async fn what_somebody_makes_under_the_name_of_a_deleted_one_is_theirs() {
    let it = Fixture::new();
    it.registry.publish_package("game", 1);
    it.pull_all().await;
    let ams = Ams::unix(it.ams.socket());
    ams.delete(it.ams.application("game").unwrap()["id"].as_str().unwrap()).await.unwrap();
    it.ams.make_by_hand(package(Packed::TarBzip2, "game", "", b"by hand"));
    let by_hand = it.ams.application("game");
    assert!(it.failures().await[0].contains("`game` that is not known"));
    it.registry.delete("game");
    it.pull_all().await;
    assert_eq!(it.ams.application("game"), by_hand);
}

#[tokio::test]
async fn a_package_that_ams_took_without_an_answer_is_not_sent_twice() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.cut_answers = 1);
    let first = it.registry.publish_package("game", 1);
    assert_eq!(it.failures().await, ["the connection was cut"]);
    it.pull_all().await;
    it.ams.set(|ams| ams.cut_answers = 1);
    let second = it.registry.publish_package("game", 2);
    assert_eq!(it.failures().await, ["the connection was cut"]);
    it.pull_all().await;
    assert_eq!(it.published("game"), [first, second]);
    assert_eq!(it.registry.fetches(), 2);
    assert_eq!(it.ams.application("game").unwrap()["versions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_application_that_ams_shows_late_is_still_known_as_made() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.cut_answers = 1);
    let game = it.registry.publish_package("game", 1);
    assert_eq!(it.failures().await, ["the connection was cut"]);
    // Two lists are for the plan, one is before the package comes, and one after that.
    it.ams.set(|ams| ams.empty_lists = 4);
    assert_eq!(it.failures().await, ["already exists"]);
    it.ams.set(|ams| ams.empty_lists = 3);
    it.pull_all().await;
    assert_eq!(it.published("game"), [game]);
    let begun = it.ams.changes().into_iter().filter(|change| change.starts_with("POST"));
    assert_eq!(begun.count(), 2, "the second was refused");
}

#[tokio::test]
async fn a_package_that_ams_did_not_take_is_not_fetched_again_unless_it_is_damaged() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.failing_answers = 2);
    let game = it.registry.publish_package("game", 1);
    for _ in 0..2 {
        assert_eq!(it.failures().await, ["database is locked"]);
        assert_eq!(it.registry.fetches(), 1);
    }
    std::fs::write(it.state().join("packages").join(&game), "damaged").unwrap();
    it.pull_all().await;
    assert_eq!((it.published("game"), it.registry.fetches()), (vec![game], 2));
}

#[tokio::test]
async fn what_ams_makes_by_itself_is_not_taken_for_what_it_never_began_with() {
    let it = Fixture::new();
    let first = it.registry.publish_package("game", 1);
    it.pull_all().await;
    it.ams.set(|ams| ams.failing_answers = 1);
    it.registry.publish_package("game", 2);
    assert_eq!(it.failures().await, ["database is locked"]);
    it.age("game");
    it.ams.update_base_image("game");
    it.registry.withdraw("game", 2);
    it.pull_all().await;
    assert_eq!(it.published("game"), [first.clone(), first]);
}

#[tokio::test]
async fn a_look_that_fails_is_no_failure_of_what_ams_is_making() {
    let it = Fixture::new();
    it.ams.set(|ams| (ams.bootstrap, ams.failing_looks) = (Duration::from_millis(100), 2));
    let game = it.registry.publish_package("game", 1);
    it.pull_all().await;
    assert_eq!((it.published("game"), it.registry.fetches()), (vec![game], 1));
}

#[tokio::test]
async fn a_restart_of_ams_costs_no_more_than_what_it_was_making() {
    let it = Fixture::new();
    let first = it.registry.publish_package("game", 1);
    it.pull_all().await;
    it.ams.set(|ams| ams.bootstrap = Duration::from_millis(400));
    let second = it.registry.publish_package("game", 2);
    let restart = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        it.ams.stop();
        tokio::time::sleep(Duration::from_millis(100)).await;
        it.ams.start();
    };
    let (outcome, ()) = tokio::join!(it.pull(), restart);
    assert_eq!(outcome.unwrap().failures.len(), 1);
    it.pull_all().await;
    assert_eq!(it.published("game"), [first, second]);
    assert_eq!(it.ams.application("game").unwrap()["versions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_interruption_at_any_moment_leaves_every_version_made_once() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let it = Fixture::new();
    it.ams.set(|ams| ams.bootstrap = Duration::from_millis(60));
    let expected: Vec<_> = (1..=3).map(|version| it.registry.publish_package("game", version)).collect();
    let tool = it.registry.publish_package("tool", 1);
    for _ in 0..25 {
        let moment = Duration::from_millis(random.u64(0..120));
        let _ = tokio::time::timeout(moment, it.pull()).await;
    }
    it.pull_all().await;
    assert_eq!(it.published("game"), expected, "seed {seed}");
    assert_eq!(it.published("tool"), [tool], "seed {seed}");
    let versions = it.ams.application("game").unwrap()["versions"].as_array().unwrap().len();
    assert_eq!(versions, 3, "seed {seed}");
    assert_eq!(it.ams.published().len(), 2, "seed {seed}");
}

#[tokio::test]
async fn what_is_wanted_no_more_while_it_is_made_does_not_stay() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.bootstrap = Duration::from_millis(300));
    it.registry.publish_package("game", 1);
    let _ = tokio::time::timeout(Duration::from_millis(150), it.pull()).await;
    assert!(it.ams.application("game").is_some());
    it.registry.withdraw("game", 1);
    let second = it.registry.publish_package("game", 2);
    it.pull_all().await;
    assert_eq!(it.published("game"), [second]);
    assert_eq!(it.ams.application("game").unwrap()["versions"].as_array().unwrap().len(), 1);

    it.registry.publish_package("game", 3);
    let _ = tokio::time::timeout(Duration::from_millis(150), it.pull()).await;
    it.registry.delete("game");
    it.pull_all().await;
    assert_eq!(it.ams.application("game"), None);
}

#[tokio::test]
async fn a_version_that_comes_late_is_left_out_as_ams_would_take_it_for_the_newest() {
    let it = Fixture::new();
    let second = it.registry.publish_package("game", 2);
    it.pull_all().await;
    it.registry.publish_package("game", 1);
    it.pull_all().await;
    assert_eq!(it.published("game"), [second]);
}

#[tokio::test]
async fn more_versions_than_ams_keeps_are_not_made() {
    let it = Fixture::new();
    it.ams.set(|ams| ams.max_published_versions = 2);
    let all: Vec<_> = (1..=6).map(|version| it.registry.publish_package("game", version)).collect();
    it.pull_all().await;
    assert_eq!((it.published("game"), it.registry.fetches()), (all[4..].to_vec(), 2));
}

#[tokio::test]
async fn what_ams_made_of_a_version_by_itself_goes_with_it() {
    let it = Fixture::new();
    let first = it.registry.publish_package("game", 1);
    it.pull_all().await;
    // Three times its base image changed; the version that was pulled is gone, its successors stand for it.
    for _ in 0..3 {
        it.ams.update_base_image("game");
    }
    let changes = it.ams.changes();
    it.pull_all().await;
    assert_eq!((it.published("game"), it.ams.changes()), (vec![first; 3], changes));
    let second = it.registry.publish_package("game", 2);
    it.pull_all().await;
    it.registry.withdraw("game", 1);
    it.pull_all().await;
    assert_eq!(it.published("game"), [second]);
}

#[tokio::test]
async fn what_is_no_package_of_that_application_never_reaches_ams() {
    let it = Fixture::new();
    it.registry.publish("exported", 1, b"an image that AMS has exported".to_vec());
    it.registry.publish_for(
        "other-machine",
        1,
        "aarch64",
        package(Packed::TarBzip2, "other-machine", "", b""),
    );
    it.pull_all().await;
    assert_eq!(it.registry.fetches(), 0);

    it.ams.set(|ams| ams.extensions = vec![]);
    it.registry.publish("broken", 1, b"BZh9 and garbage".to_vec());
    it.registry.publish("renamed", 1, package(Packed::TarBzip2, "game", "", b""));
    it.registry.publish("zipped", 1, package(Packed::Zip, "zipped", "", b""));
    let mut failures = it.failures().await;
    failures.sort();
    assert!(failures[0].starts_with("AMS lacks the API extension `zip_archive_support`"), "{failures:?}");
    assert!(failures[1].starts_with("the image is no application package: the archive"), "{failures:?}");
    assert!(failures[2].contains("names the application `game`"), "{failures:?}");
    assert!(it.ams.changes().is_empty(), "{:?}", it.ams.changes());
}

#[tokio::test]
async fn what_has_come_of_a_package_needs_no_space_again() {
    const GIB: u64 = 1 << 30;
    let it = Fixture::new();
    let target = AmsTarget::open(Ams::unix(it.ams.socket()), &it.state()).unwrap();
    let disk = rustix::fs::statvfs(it.state()).unwrap();
    let fingerprint = Digest::of(b"game");
    let package = Package {
        fingerprint: Some(fingerprint),
        size: Some(disk.f_bavail * disk.f_frsize + 4 * GIB),
        media_type: None,
    };
    let image = ImageAddress {
        name: "game".parse().unwrap(),
        version: "1".parse().unwrap(),
        architecture: Architecture::X86_64,
    };
    let step = Step::Transfer { image, package, application: Map::new(), version: Map::new() };
    let plan = Plan { steps: vec![step], ..Plan::default() };
    assert!(matches!(target.admit(&plan).await, Err(aar_sync::Error::NoSpace { .. })));
    for file in [format!("{fingerprint}.part"), fingerprint.to_string()] {
        let path = it.state().join("packages").join(file);
        // It takes no space itself.
        std::fs::File::create(&path).unwrap().set_len(8 * GIB).unwrap();
        target.admit(&plan).await.unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn one_synchronisation_at_a_time_has_the_state() {
    let it = Fixture::new();
    let _other = AmsTarget::open(Ams::unix(it.ams.socket()), &it.state()).unwrap();
    assert!(matches!(it.pull().await, Err(aar_sync::Error::Locked(_))));
}

#[tokio::test]
async fn over_the_network_ams_is_who_was_pinned_and_trusts_the_certificate() {
    use aar_tests::Person;
    use aar_tls::{Connector, Identity};

    let dir = tempfile::tempdir().unwrap();
    let people = ["ams", "me", "somebody"].map(|name| Person::new(dir.path(), name));
    let [server, me, somebody] = &people;
    let it = AmsServer::tls(server, me);
    it.make_by_hand(package(Packed::TarBzip2, "game", "", b""));
    let ams = |as_whom: &Person, pin: &Person| {
        let identity = Identity::load(&as_whom.certificate_file, &as_whom.key_file).unwrap();
        let connector = Connector::new(Some(&identity), pin.fingerprint()).unwrap();
        Ams::https(&it.address().parse().unwrap(), connector).unwrap()
    };
    assert_eq!(ams(me, server).applications().await.unwrap()[0].name, "game");
    let refused = ams(somebody, server).applications().await.unwrap_err();
    assert_eq!(refused.to_string(), "not authorized");
    let other = ams(me, somebody).applications().await.unwrap_err().to_string();
    assert!(other.contains("as pinned"), "{other}");
}
