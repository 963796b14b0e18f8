//! Requests made from the contract that the API itself gives out, right ones and hostile ones; every answer
//! must be one that the contract tells of.
//!
//! The same requests in every run. `PROPTEST_CASES=20000` makes more of them, `PROPTEST_RNG_SEED=1` others; a
//! failure shows the smallest request that was found to do it, as a command.

mod contract;
mod draft;
mod judge;
mod multipart;
mod values;
mod world;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{
    strategy::Union,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};
use serde_json::Value;

use self::{
    contract::{Contract, Operation},
    draft::{Draft, drafts},
    judge::{Reply, check},
    world::{Request, World},
};
use super::harness::expect;

const CASES: u32 = 2_000;
const SEED: u64 = 8;

/// Statuses that the contract tells of and no request here leads to, with the reason.
const UNSEEN: [(u16, &str); 4] = [
    (500, "a defect"),
    (503, "nothing is out of order here"),
    (429, "no rate is set here"),
    (304, "nobody names what he has here"),
];

fn config() -> Config {
    let plain = Config::default();
    let said = |name: &str| std::env::var(name).is_ok();
    Config {
        cases: if said("PROPTEST_CASES") { plain.cases } else { CASES },
        rng_seed: if said("PROPTEST_RNG_SEED") { plain.rng_seed } else { RngSeed::Fixed(SEED) },
        max_shrink_iters: 400,
        failure_persistence: None,
        ..plain
    }
}

/// Reads the answer; of a stream that does not end, the head alone.
async fn reply(world: &World, request: &Request, answer: reqwest::Response) -> reqwest::Result<Reply> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let streams = headers.get("content-type").is_some_and(|value| value == "text/event-stream");
    let body = if streams && !world.is_final(&request.id).await { Vec::new() } else { answer.bytes().await?.to_vec() };
    Ok(Reply { status, headers, body })
}

/// Every event of a stream has its number and its attempt.
fn check_events(body: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(body);
    let mut last = None;
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(data).map_err(|error| format!("an event is not JSON: {error}"))?;
        let (Some(seq), Some(_)) = (event["seq"].as_u64(), event["attempt"].as_u64()) else {
            return Err(format!("an event without seq or attempt: {event}"));
        };
        if last.is_some_and(|last| seq != last + 1) {
            return Err(format!("event {seq} after {last:?}"));
        }
        last = Some(seq);
    }
    Ok(())
}

/// Statuses by operation.
type Seen = BTreeMap<String, BTreeSet<u16>>;

/// Sends one request and judges the answer.
async fn probe(
    world: &mut World,
    contract: &Contract,
    operation: &Operation,
    draft: &Draft,
    seen: &mut Seen,
) -> Result<(), String> {
    world.refill().await;
    let request = world.request(operation, draft);
    let tell = |why: String| format!("{}: {why}\n{request}\n", operation.name());
    let answer = tokio::time::timeout(Duration::from_secs(30), world.send(&request)).await;
    let answer = answer.map_err(|_| tell("no answer within half a minute".into()))?;
    let answer = answer.map_err(|error| tell(format!("no answer: {error:?}")))?;
    let reply = reply(world, &request, answer).await.map_err(|error| tell(format!("a broken answer: {error:?}")))?;
    if request.method == operation.method {
        seen.entry(operation.name()).or_default().insert(reply.status.as_u16());
    }
    check(contract, operation, draft, &request, &reply).map_err(tell)?;
    if operation.path.ends_with("/events") && reply.status == 200 {
        check_events(&reply.body).map_err(tell)?;
    }
    world.remember(&reply.json());
    Ok(())
}

/// Every operation has succeeded, and every refusal that the contract tells of has been met somewhere.
fn covered(contract: &Contract, seen: &Seen) {
    let nothing = BTreeSet::new();
    let of = |operation: &Operation| seen.get(&operation.name()).unwrap_or(&nothing);
    let failing = contract.operations.iter().filter(|&operation| !of(operation).iter().any(|s| (200..300).contains(s)));
    let failing: Vec<_> = failing.map(Operation::name).collect();
    assert!(failing.is_empty(), "never successful: {failing:?}");
    let told: BTreeSet<u16> =
        contract.operations.iter().flat_map(|operation| operation.answers.keys().copied()).collect();
    let met: BTreeSet<u16> = seen.values().flatten().copied().chain(UNSEEN.map(|(status, _)| status)).collect();
    assert_eq!(told.difference(&met).collect::<Vec<_>>(), Vec::<&u16>::new(), "never met");
}

#[test]
fn every_answer_to_any_request_is_one_that_the_contract_tells_of() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let document = async { expect(world.app.get("/openapi.json").send().await.unwrap(), 200).await };
    let contract = Contract::read(runtime.block_on(document));
    // The more an operation takes, the more can be wrong.
    let weight = |operation: &Operation| (1 + operation.parameters.len() + 3 * operation.contents.len()) as u32;
    let weighed = |(number, operation)| (weight(operation), drafts(&contract, number));
    let any = Union::new_weighted(contract.operations.iter().enumerate().map(weighed).collect());
    let config = config();
    let (rng_seed, enough) = (config.rng_seed, config.cases >= CASES);
    let state = RefCell::new((world, Seen::new()));
    let outcome = TestRunner::new(config).run(&any, |draft| {
        let (world, seen) = &mut *state.borrow_mut();
        let operation = &contract.operations[draft.operation];
        runtime.block_on(probe(world, &contract, operation, &draft, seen)).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) if enough => covered(&contract, &state.borrow().1),
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("seed {rng_seed:?}\n{why}"),
        Err(TestError::Abort(why)) => panic!("seed {rng_seed:?}: {why}"),
    }
}
