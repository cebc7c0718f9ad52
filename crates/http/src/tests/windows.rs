//! Clients that always have some requests under way, behind a loss.

use proptest::prelude::*;

use super::{answer, assert_right_or_marked, get};
use crate::testing::{CLIENT, Lane, SERVER, lines};
use crate::{Confidence, Exchange, State};

/// A client that keeps three requests under way: the answers to all of them come at once, and it asks again for each.
/// What is in `lost` is missing: requests by their number, answers by 1000 more.
fn three_under_way(rounds: u16, lost: &[u16]) -> Vec<Exchange> {
    let mut lane = Lane::new();
    let send = |lane: &mut Lane, from, number: u16, bytes: String, had| {
        if lost.contains(&number) {
            lane.gap(from, bytes.len() as u64);
        } else {
            lane.data(from, bytes.as_bytes(), Some(had));
        }
    };
    let mut answered = [0; 3];
    for round in 0..rounds {
        for (place, had) in answered.iter().enumerate() {
            let number = 3 * round + place as u16;
            send(&mut lane, CLIENT, number, get(&format!("/{number}")), *had);
        }
        let had = lane.sent[CLIENT as usize];
        for (place, received) in answered.iter_mut().enumerate() {
            let number = 3 * round + place as u16;
            send(&mut lane, SERVER, 1_000 + number, answer(200 + number), had);
            *received = lane.sent[SERVER as usize];
        }
    }
    lane.finish()
}

#[test]
fn a_window_leaves_one_way_after_a_loss() {
    // A request, an answer, both of an exchange, three side by side.
    for lost in [&[31][..], &[1_031], &[31, 1_031], &[30, 1_031, 1_032], &[32, 33, 34]] {
        let exchanges = three_under_way(20, lost);
        assert_right_or_marked(&exchanges);
        let sure = |one: &&Exchange| one.state == State::Complete && one.confidence != Confidence::Low;
        let known = exchanges.iter().filter(sure).count();
        assert!(known >= 56, "{lost:?}, {known}: {:?}", lines(&exchanges));
    }
    assert_right_or_marked(&three_under_way(20, &[7]));
    // It has not been seen often enough that there are three.
    let exchanges = three_under_way(20, &[4]);
    assert_right_or_marked(&exchanges);
    assert!(exchanges.iter().all(|one| one.confidence != Confidence::Medium || one.response.is_none()));
}

/// A load generator sends one request like the other, and its first ones are in a hole.
#[test]
fn as_many_requests_in_a_hole_as_answers_have_come() {
    let run = |extra: u64, answers: u16| {
        let mut lane = Lane::new();
        let get = |number: u16| get(&format!("/{number:040}"));
        lane.gap(CLIENT, 3 * get(0).len() as u64 + extra);
        for number in 0..answers {
            lane.server(answer(200 + number));
        }
        // It has had the first answer, and no other.
        let had = answer(200).len() as u64;
        for number in 3..12 {
            let had = had * u64::from(number - 2);
            lane.data(CLIENT, get(number).as_bytes(), Some(had));
            if number > 4 {
                lane.server(answer(198 + number));
            }
        }
        lane.server(answer(210) + &answer(211)).finish()
    };
    let pairs = |exchanges: &[Exchange]| {
        let pairs = exchanges.iter().filter(|one| one.request.is_some() && one.response.is_some());
        pairs.map(|one| one.confidence).collect::<Vec<_>>()
    };
    let exchanges = run(0, 3);
    assert_right_or_marked(&exchanges);
    assert_eq!(pairs(&exchanges), [Confidence::Medium; 9], "{:?}", lines(&exchanges));
    // One of them was longer, or there were more.
    assert!(!pairs(&run(1, 3)).contains(&Confidence::Medium));
    // One of them has no answer yet.
    let exchanges = run(0, 2);
    assert!(!pairs(&exchanges).contains(&Confidence::High), "{:?}", lines(&exchanges));
}

/// Seen on a wire: the first requests are missing, which shows only after many answers have come, and then an answer is.
#[test]
fn a_window_is_seen_behind_a_hole_that_was_given_up_late() {
    let mut lane = Lane::new();
    let ask = |number: u16| get(&format!("/{number:040}"));
    let [asked, answered] = [ask(0), answer(200)].map(|one| one.len() as u64);
    let request = |lane: &mut Lane, number: u16| {
        lane.data(CLIENT, ask(number).as_bytes(), Some(u64::from(number - 2) * answered));
    };
    let response = |lane: &mut Lane, number: u16| {
        // It answers all that it has.
        let had = number / 3 * 3 + 3;
        lane.data(SERVER, answer(200 + number).as_bytes(), Some(u64::from(had) * asked));
    };
    (0..10).for_each(|number| response(&mut lane, number));
    lane.gap(CLIENT, 3 * asked);
    (3..13).for_each(|number| request(&mut lane, number));
    lane.gap(SERVER, answered);
    for number in 11..30 {
        request(&mut lane, number + 2);
        response(&mut lane, number);
    }
    let exchanges = lane.finish();
    assert_right_or_marked(&exchanges);
    let sure = |one: &&Exchange| one.state == State::Complete && one.confidence == Confidence::Medium;
    assert_eq!(exchanges.iter().filter(sure).count(), 26, "{:?}", lines(&exchanges));
}

/// What is lost of a client with a fixed number of requests under way, the `drawn` number says for each packet, and how
/// many of them the server answers before it asks again.
fn window(most: u16, drawn: &[u8]) -> Vec<Exchange> {
    let mut lane = Lane::new();
    let (mut asked, mut answered) = (0, 0);
    for &number in drawn {
        let is_lost = asked > 8 * most && number % 16 == 0;
        let (from, bytes) = if asked - answered == most || asked > answered && number % 3 == 0 {
            answered += 1;
            (SERVER, answer(199 + answered))
        } else {
            asked += 1;
            (CLIENT, get(&format!("/{}", asked - 1)))
        };
        match (is_lost, from) {
            (true, _) => lane.gap(from, bytes.len() as u64),
            (false, CLIENT) => lane.client(bytes),
            (false, SERVER) => lane.server(bytes),
        };
    }
    lane.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_a_window_is_paired_by_is_right(most in 2..5_u16, drawn in prop::collection::vec(any::<u8>(), 400)) {
        let exchanges = window(most, &drawn);
        let sure = exchanges.iter().filter(|one| one.confidence == Confidence::High);
        assert_right_or_marked(&sure.cloned().collect::<Vec<_>>());
    }
}

/// A client with a fixed number of requests under way looks like one that waits, until its server answers before it has
/// had the last request.
#[test]
fn joined_in_the_middle_of_a_window() {
    let mut lane = Lane::midstream();
    for next in 3..60 {
        // To the one before the last; once it is on its way while the server answers.
        let had = lane.sent[CLIENT as usize];
        lane.client(get(&format!("/{next}")));
        let had = if next == 30 { had } else { lane.sent[CLIENT as usize] };
        lane.data(SERVER, answer(200).as_bytes(), Some(had));
    }
    let exchanges = lane.finish();
    let confidences: Vec<_> = exchanges.iter().map(|one| one.confidence).collect();
    assert_eq!(confidences[..2], [Confidence::Low, Confidence::Medium]);
    assert!(exchanges[27..].iter().all(|one| one.confidence == Confidence::Low));
    let mut pairs = exchanges.iter().filter(|one| one.request.is_some() && one.response.is_some());
    assert!(pairs.all(|one| one.untrusted.pairing == (one.confidence == Confidence::Low)));
}

#[test]
fn pauses_show_that_a_client_waits() {
    let mut lane = Lane::midstream();
    // Of what was missing nobody knows how it was sent.
    lane.gap(CLIENT, 10_000);
    for next in 0..12 {
        lane.now += 100_000 << next;
        lane.client(get("/")).server(answer(200));
    }
    let exchanges = lane.finish();
    let doubted = exchanges.iter().take_while(|one| one.confidence == Confidence::Low).count();
    assert!((2..11).contains(&doubted), "{doubted}");
    assert!(exchanges[doubted..].iter().all(|one| one.confidence == Confidence::Medium));
    assert!(exchanges[doubted..].iter().all(|one| !one.untrusted.any()));
    assert!(exchanges[..doubted].iter().all(|one| one.untrusted.pairing));
}
