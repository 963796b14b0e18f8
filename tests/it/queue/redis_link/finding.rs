//! Finding the primary: Sentinel and Cluster, while it moves.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ragq::{
    domain::job::{Kind, NewJob, Priority, Status},
    queue::{
        SharedJobStore,
        redis::{
            RedisJobStore, RedisOptions,
            link::{Confirm, Link, LinkError, Mode},
        },
    },
};
use redis::aio::MultiplexedConnection;

use super::{KEY, call, link, mark, options};
use crate::{
    queue::contract::{beat, chat, complete, submit},
    support::{
        eventually,
        redis::{Server, connect, say},
    },
};

async fn replica_of(primary: &Server) -> Server {
    let replica = Server::start(&[("replicaof", &format!("127.0.0.1 {}", primary.port()))]).await;
    let mut client = primary.client().await;
    eventually(async || {
        let info: String = say(&mut client, "INFO replication").await.unwrap();
        info.contains("state=online").then_some(())
    })
    .await;
    replica
}

/// A sentinel that watches the primary under the name `jobs`.
async fn sentinel(primary: &Server) -> Server {
    let sentinel = Server::start_sentinel(&[]).await;
    watch(primary, &mut sentinel.client().await).await;
    sentinel
}

async fn watch(primary: &Server, client: &mut MultiplexedConnection) {
    let () = say(client, &format!("SENTINEL MONITOR jobs 127.0.0.1 {} 2", primary.port())).await.unwrap();
    for setting in ["down-after-milliseconds 500", "failover-timeout 5000"] {
        let () = say(client, &format!("SENTINEL SET jobs {setting}")).await.unwrap();
    }
}

fn by_sentinels(sentinels: &[Server]) -> Link {
    let hosts: Vec<_> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let mut options = options(format!("redis://{}/", hosts.join(",")));
    options.mode = Mode::Sentinel { master: "jobs".to_owned() };
    Link::new(options).unwrap()
}

#[tokio::test]
async fn a_failover_of_sentinels_is_followed() {
    let mut primary = Server::start(&[]).await;
    let replica = replica_of(&primary).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(sentinel(&primary).await);
    }
    for sentinel in &sentinels {
        let mut client = sentinel.client().await;
        // All know each other and the replica.
        eventually(async || {
            let info: String = say(&mut client, "INFO sentinel").await.unwrap();
            info.contains("slaves=1,sentinels=3").then_some(())
        })
        .await;
    }
    let link = by_sentinels(&sentinels);
    call(&link, "before").await;
    assert_eq!(link.check().await.unwrap(), []);

    primary.kill9().await;
    // The first of the list is gone, too.
    sentinels[0].kill9().await;
    call(&link, "meanwhile").await;
    let mut client = replica.client().await;
    let there: bool = redis::cmd("HEXISTS").arg(KEY).arg("meanwhile").query_async(&mut client).await.unwrap();
    assert!(there, "the replica is the primary now");

    // The primary of before comes back and thinks for a while that it still is one.
    primary.restart().await;
    let () = say(&mut client, "CLIENT KILL TYPE normal SKIPME yes").await.unwrap();
    call(&link, "after").await;
    let there: bool = redis::cmd("HEXISTS").arg(KEY).arg("after").query_async(&mut client).await.unwrap();
    assert!(there, "it is not asked");
}

#[tokio::test]
async fn a_server_that_a_sentinel_takes_for_the_primary_is_not_believed_without_asking_it() {
    let primary = Server::start(&[]).await;
    let sentinels = [sentinel(&primary).await];
    let () = say(&mut primary.client().await, "REPLICAOF 127.0.0.1 1").await.unwrap();
    let mut options = options(format!("redis://127.0.0.1:{}/", sentinels[0].port()));
    options.mode = Mode::Sentinel { master: "jobs".to_owned() };
    options.patience = Duration::from_millis(100);
    let error = mark(&Link::new(options).unwrap(), "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)) && error.to_string().contains("not the primary"), "{error}");
}

#[tokio::test]
async fn of_sentinels_that_disagree_the_one_with_the_latest_failover_is_believed() {
    let stale = Server::start(&[]).await;
    let primary = Server::start(&[]).await;
    let replica = replica_of(&primary).await;
    // They watch different servers and so never hear of each other.
    let sentinels = [sentinel(&stale).await, sentinel(&primary).await];
    let mut client = sentinels[1].client().await;
    eventually(async || {
        let info: String = say(&mut client, "INFO sentinel").await.unwrap();
        info.contains("slaves=1").then_some(())
    })
    .await;
    eventually(async || say::<()>(&mut client, "SENTINEL FAILOVER jobs").await.ok()).await;
    eventually(async || {
        let named: (String, u16) = say(&mut client, "SENTINEL GET-MASTER-ADDR-BY-NAME jobs").await.unwrap();
        (named.1 == replica.port()).then_some(())
    })
    .await;
    call(&by_sentinels(&sentinels), "call").await;
    let there: bool = redis::cmd("EXISTS").arg(KEY).query_async(&mut replica.client().await).await.unwrap();
    assert!(there);
}

#[tokio::test]
async fn sentinels_that_do_not_know_the_name_are_an_error_that_says_so() {
    let primary = Server::start(&[]).await;
    let sentinels = [sentinel(&primary).await];
    let mut options = options(format!("redis://127.0.0.1:{}/", sentinels[0].port()));
    options.mode = Mode::Sentinel { master: "others".to_owned() };
    options.patience = Duration::from_millis(100);
    let error = mark(&Link::new(options).unwrap(), "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)) && error.to_string().contains("\"others\""), "{error}");
}

#[tokio::test]
async fn sentinels_with_a_password_are_shown_the_one_of_the_url() {
    let primary = Server::start(&[("requirepass", "swordfish")]).await;
    let open = Server::start_sentinel(&[]).await;
    let locked = Server::start_sentinel(&[("requirepass", "swordfish")]).await;
    for (sentinel, password) in [(&open, ""), (&locked, ":swordfish@")] {
        let mut client = connect(&format!("redis://{password}127.0.0.1:{}/", sentinel.port())).await;
        watch(&primary, &mut client).await;
        let () = say(&mut client, "SENTINEL SET jobs auth-pass swordfish").await.unwrap();
        let mut options = options(format!("redis://:swordfish@127.0.0.1:{}/", sentinel.port()));
        options.mode = Mode::Sentinel { master: "jobs".to_owned() };
        call(&Link::new(options).unwrap(), password).await;
    }
}

/// A range of slots with the address and id of the node that serves it.
type Range = (u16, u16, (String, u16, String, redis::Value));

/// Three nodes that share the slots.
pub struct Cluster {
    pub nodes: Vec<Server>,
    ids: Vec<String>,
}

impl Cluster {
    /// Starts them and waits until they know each other.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Server::start_node().await);
        }
        let mut ids = Vec::new();
        for (node, range) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            let mut client = node.client().await;
            ids.push(say(&mut client, "CLUSTER MYID").await.unwrap());
            let () = say(&mut client, &format!("CLUSTER ADDSLOTSRANGE {range}")).await.unwrap();
            for other in &nodes {
                let () = say(&mut client, &format!("CLUSTER MEET 127.0.0.1 {} {}", other.port(), other.bus_port()))
                    .await
                    .unwrap();
            }
        }
        let cluster = Self { nodes, ids };
        for node in &cluster.nodes {
            let mut client = node.client().await;
            eventually(async || {
                let info: String = say(&mut client, "CLUSTER INFO").await.unwrap();
                let whole = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
                (whole && info.contains("cluster_known_nodes:3")).then_some(())
            })
            .await;
        }
        cluster
    }

    fn link(&self) -> Link {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let mut options = options(format!("redis://{}/", hosts.join(",")));
        options.mode = Mode::Cluster;
        Link::new(options).unwrap()
    }

    /// The number of the node that serves the key's slot.
    pub async fn owner(&self, slot: u16) -> usize {
        let mut client = self.nodes[0].client().await;
        let ranges: Vec<Range> = say(&mut client, "CLUSTER SLOTS").await.unwrap();
        let id = ranges.into_iter().find(|range| (range.0..=range.1).contains(&slot)).unwrap().2.2;
        self.ids.iter().position(|known| *known == id).unwrap()
    }
}

#[tokio::test]
async fn a_slot_that_moves_to_another_node_is_followed_while_calls_go_on() {
    let cluster = Cluster::start().await;
    let link = cluster.link();
    call(&link, "before").await;
    let slot: u16 = say(&mut cluster.nodes[0].client().await, &format!("CLUSTER KEYSLOT {KEY}")).await.unwrap();
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    let (mut source, mut target) = (cluster.nodes[from].client().await, cluster.nodes[to].client().await);

    let stop = tokio_util::sync::CancellationToken::new();
    let calls = tokio::spawn({
        let (link, stop) = (link.clone(), stop.clone());
        async move {
            let mut done = 0;
            while !stop.is_cancelled() {
                call(&link, &format!("call {done}")).await;
                done += 1;
            }
            done
        }
    });
    eventually(async || (say::<u64>(&mut source, &format!("HLEN {KEY}")).await.unwrap() > 10).then_some(())).await;
    // As redis-cli does it, with the key on its way for a while: it is then on the other node, but not yet its own.
    let (old, new) = (&cluster.ids[from], &cluster.ids[to]);
    let () = say(&mut target, &format!("CLUSTER SETSLOT {slot} IMPORTING {old}")).await.unwrap();
    let () = say(&mut source, &format!("CLUSTER SETSLOT {slot} MIGRATING {new}")).await.unwrap();
    let port = cluster.nodes[to].port();
    let () = say(&mut source, &format!("MIGRATE 127.0.0.1 {port} {KEY} 0 5000")).await.unwrap();
    let seen = link.reconnects();
    eventually(async || (link.reconnects() > seen).then_some(())).await;
    for client in [&mut target, &mut source] {
        let () = say(client, &format!("CLUSTER SETSLOT {slot} NODE {new}")).await.unwrap();
    }
    let moved: u64 = say(&mut target, &format!("HLEN {KEY}")).await.unwrap();
    eventually(async || (say::<u64>(&mut target, &format!("HLEN {KEY}")).await.unwrap() > moved + 10).then_some(()))
        .await;
    stop.cancel();
    let done: u64 = calls.await.unwrap();
    let there: u64 = say(&mut target, &format!("HLEN {KEY}")).await.unwrap();
    assert_eq!(there, done + 1, "every call is there once, and the one from before");
    assert_eq!(link.check().await.unwrap(), []);
}

#[tokio::test]
async fn jobs_go_on_when_the_queues_slot_has_moved_and_none_is_stranded_on_the_way() {
    const JOBS: usize = 300;
    let cluster = Cluster::start().await;
    let link = cluster.link();
    let slot: u16 = say(&mut cluster.nodes[0].client().await, &format!("CLUSTER KEYSLOT {KEY}")).await.unwrap();
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    let (mut source, mut target) = (cluster.nodes[from].client().await, cluster.nodes[to].client().await);

    let store: SharedJobStore = Arc::new(RedisJobStore::new(link.clone(), RedisOptions::default()));
    let worker = beat(&*store, "w").await;
    // There is a key for everything that a fetch looks at before it takes jobs away.
    store.pause(&[Kind::Ingest]).await.unwrap();
    let far = Duration::from_hours(1);
    submit(&*store, NewJob { delay: Some(far), deadline: Some(far), ..chat("later") }).await;
    let priorities = [Priority::High, Priority::Normal, Priority::Low];
    for (_, priority) in (0..JOBS).zip(priorities.into_iter().cycle()) {
        submit(&*store, NewJob { priority, ..chat("q") }).await;
    }
    let working = tokio::spawn({
        let store = store.clone();
        async move {
            let mut done = Vec::new();
            while done.len() < JOBS {
                for delivery in store.fetch(&worker, Kind::Chat, 2).await.unwrap() {
                    complete(&*store, &delivery.lease, "done").await;
                    done.push(delivery.lease.job);
                }
            }
            done
        }
    });
    eventually(async || (say::<u64>(&mut source, "HLEN {ragq}:results").await.unwrap() > 4).then_some(())).await;
    let (old, new) = (&cluster.ids[from], &cluster.ids[to]);
    let () = say(&mut target, &format!("CLUSTER SETSLOT {slot} IMPORTING {old}")).await.unwrap();
    let () = say(&mut source, &format!("CLUSTER SETSLOT {slot} MIGRATING {new}")).await.unwrap();
    let port = cluster.nodes[to].port();
    // Key by key, the one by which calls find their node last, and each time the store has tried to go on.
    loop {
        let seen = link.reconnects();
        eventually(async || (link.reconnects() > seen).then_some(())).await;
        let keys: Vec<String> = say(&mut source, &format!("CLUSTER GETKEYSINSLOT {slot} 3")).await.unwrap();
        let others: Vec<_> = keys.iter().filter(|key| *key != KEY).map(String::as_str).collect();
        let some = if others.is_empty() { vec![KEY] } else { others };
        let mut moving = redis::cmd("MIGRATE");
        moving.arg("127.0.0.1").arg(port).arg("").arg(0).arg(5_000).arg("KEYS").arg(&some);
        let () = moving.query_async(&mut source).await.unwrap();
        if some == [KEY] {
            break;
        }
    }
    for client in [&mut target, &mut source] {
        let () = say(client, &format!("CLUSTER SETSLOT {slot} NODE {new}")).await.unwrap();
    }
    let ended = tokio::time::timeout(Duration::from_mins(1), working).await;
    let done = ended.expect("no job is lost on the way").unwrap();
    assert_eq!(done.iter().collect::<HashSet<_>>().len(), JOBS, "each was handed over once");
    let stats = store.stats().await.unwrap();
    let unfinished = [Status::Queued, Status::Running].map(|status| stats.counts.get(&status).copied().unwrap_or(0));
    assert_eq!(unfinished, [0, 0]);
}

#[tokio::test]
async fn a_node_of_the_list_that_is_gone_is_passed_over() {
    let mut cluster = Cluster::start().await;
    let slot: u16 = say(&mut cluster.nodes[0].client().await, &format!("CLUSTER KEYSLOT {KEY}")).await.unwrap();
    let owner = cluster.owner(slot).await;
    let gone = (owner + 1) % 3;
    // Listed first.
    cluster.nodes.swap(0, gone);
    cluster.nodes[0].kill9().await;
    call(&cluster.link(), "call").await;
}

#[tokio::test]
async fn a_single_server_taken_for_a_cluster_is_an_error_that_says_so() {
    let server = Server::start(&[]).await;
    let mut options = options(server.url());
    options.mode = Mode::Cluster;
    let error = mark(&Link::new(options).unwrap(), "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Broken(_)) && error.to_string().contains("cluster support"), "{error}");
}

#[tokio::test]
async fn a_node_of_a_cluster_taken_for_a_single_server_is_warned_of() {
    let cluster = Cluster::start().await;
    let warnings = link(cluster.nodes[0].url()).check().await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].message.contains("redis.mode"), "{warnings:?}");
}
