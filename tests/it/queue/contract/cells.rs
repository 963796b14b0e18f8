//! Cells: small shared values, swapped by version.

use futures::future::join_all;
use ragq::queue::{Cell, Swap};

use super::*;

/// Applies a swap and gives the cell after it.
async fn swapped(store: &dyn JobStore, name: &str, version: u64, value: &str, announce: bool) -> Cell {
    match store.swap_cell(name, version, value, announce).await.unwrap() {
        Swap::Applied(cell) => cell,
        Swap::Conflict(cell) => panic!("refused over {cell:?}"),
    }
}

pub async fn a_cell_nobody_wrote_is_empty_and_has_version_zero<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    assert_eq!(fixture.store().cell("c").await.unwrap(), Cell { now: START, ..Cell::default() });
}

pub async fn a_swap_replaces_exactly_the_version_it_names<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let one = swapped(&*store, "c", 0, "one line\nand {\"another\": 1} ", false).await;
    assert_eq!((one.version, one.now), (1, START));
    assert_eq!(store.cell("c").await.unwrap(), one, "to the letter");
    fixture.pass(Duration::from_millis(7)).await;
    let seen_later = Cell { now: START.plus(Duration::from_millis(7)), ..one };
    for stale in [0, 2, 99] {
        let refused = store.swap_cell("c", stale, "stale", true).await.unwrap();
        assert_eq!(refused, Swap::Conflict(seen_later.clone()));
    }
    let two = swapped(&*store, "c", 1, "", false).await;
    assert_eq!((two.version, two.value.as_str(), two.now), (2, "", seen_later.now));
    assert_eq!(store.cell("another").await.unwrap().version, 0);
}

pub async fn of_swaps_at_once_one_is_applied<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let values: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let swaps = join_all(values.iter().map(|value| store.swap_cell("c", 0, value, false))).await;
    let applied: Vec<_> = swaps
        .into_iter()
        .filter_map(|swap| match swap.unwrap() {
            Swap::Applied(cell) => Some(cell),
            Swap::Conflict(cell) => {
                assert_eq!(cell.version, 1);
                None
            }
        })
        .collect();
    assert_eq!(applied.len(), 1);
    assert_eq!(store.cell("c").await.unwrap(), applied[0]);
}

pub async fn who_watches_is_told_of_announced_changes_alone<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let mut watch = store.watch_cell("c");
    assert_eq!(watch.borrow_and_update().version, 0);
    swapped(&*store, "c", 0, "quiet", false).await;
    swapped(&*store, "another", 0, "told", true).await;
    assert!(!watch.has_changed().unwrap());
    let told = swapped(&*store, "c", 1, "told", true).await;
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow(), told);
}

pub async fn a_cell_is_still_there_after_a_restart<F: Fixture>() {
    let mut fixture = F::open(Limits::default()).await;
    let written = swapped(&*fixture.store(), "c", 0, "kept", false).await;
    fixture.reopen().await;
    assert_eq!(fixture.store().cell("c").await.unwrap(), written);
}
