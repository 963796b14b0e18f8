//! What other processes change, heard over one connection for all of this process's waiters: a channel for each
//! job and each cell that is watched, and one for each worker of this process, on which it is told that a job is no
//! longer its.
//!
//! Whoever looks at a job that it watches looks after the subscription stands ([`Announcements::settled`]), so that
//! no change falls between. After a break all waiters are told, because something may have been missed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{BACKOFF, Shared, link::Confirm, scripts};
use crate::{
    domain::{clock::Timestamp, ids::JobId, job::Status},
    queue::{Cell, watch::Watch},
};

/// Channels subscribed to in one command.
const TOGETHER: usize = 512;

/// The subscriptions of this process.
#[derive(Debug)]
pub(super) struct Announcements {
    channels: Channels,
    prefix: String,
}

/// Shared by the task and by everything that holds a subscription.
#[derive(Clone, Debug)]
struct Channels {
    held: Arc<Mutex<HashMap<String, Held>>>,
    orders: mpsc::UnboundedSender<String>,
}

/// One channel.
#[derive(Debug)]
struct Held {
    holders: usize,
    /// Whether the server has been told; true also while it can't be reached, when waiting would help nobody.
    stands: watch::Sender<bool>,
}

impl Channels {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        // Nothing panics while the lock is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, channel: String) -> Subscription {
        let mut held = self.held();
        let entry =
            held.entry(channel.clone()).or_insert_with(|| Held { holders: 0, stands: watch::Sender::new(false) });
        entry.holders += 1;
        if entry.holders == 1 {
            // The task lives as long as the store; after that nobody is told of anything.
            drop(self.orders.send(channel.clone()));
        }
        drop(held);
        Subscription { channel, channels: self.clone() }
    }
}

/// Keeps a channel subscribed to.
#[derive(Debug)]
pub(super) struct Subscription {
    channel: String,
    channels: Channels,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut held = self.channels.held();
        if let Some(entry) = held.get_mut(&self.channel) {
            entry.holders -= 1;
            if entry.holders == 0 {
                held.remove(&self.channel);
                drop(self.channels.orders.send(std::mem::take(&mut self.channel)));
            }
        }
    }
}

impl Announcements {
    pub(super) fn start(tracker: &TaskTracker, shared: &Arc<Shared>, stop: CancellationToken) -> Self {
        let (orders, receiver) = mpsc::unbounded_channel();
        let channels = Channels { held: Arc::default(), orders };
        let prefix = format!("{}:", shared.options.queue);
        let listener = Listener { shared: shared.clone(), held: channels.held.clone(), prefix: prefix.clone() };
        tracker.spawn(async move { stop.run_until_cancelled(listener.run(receiver)).await });
        Self { channels, prefix }
    }

    /// Watches a job, wherever it is changed.
    pub(super) fn watch(&self, shared: &Shared, id: JobId) -> Watch {
        let subscription = self.channels.hold(format!("{}job:{id}", self.prefix));
        shared.watchers.watch_with(id, subscription)
    }

    /// Hears what is done to the jobs of a worker of this process.
    pub(super) fn worker(&self, worker: &str) -> Subscription {
        self.channels.hold(format!("{}worker:{worker}", self.prefix))
    }

    /// Hears what is announced of a cell.
    pub(super) fn cell(&self, name: &str) -> Subscription {
        self.channels.hold(format!("{}cell:{name}", self.prefix))
    }

    /// Resolves when the server has been told of all this process wants to hear of the job, or can't be told.
    pub(super) async fn settled(&self, id: JobId) {
        self.stands(&format!("{}job:{id}", self.prefix)).await;
    }

    /// The same for a worker.
    pub(super) async fn worker_settled(&self, worker: &str) {
        self.stands(&format!("{}worker:{worker}", self.prefix)).await;
    }

    /// The same for a cell.
    pub(super) async fn cell_settled(&self, name: &str) {
        self.stands(&format!("{}cell:{name}", self.prefix)).await;
    }

    async fn stands(&self, channel: &str) {
        let Some(mut stands) = self.channels.held().get(channel).map(|held| held.stands.subscribe()) else { return };
        // An error says that the channel was let go of.
        drop(stands.wait_for(|stands| *stands).await);
    }
}

struct Listener {
    shared: Arc<Shared>,
    held: Arc<Mutex<HashMap<String, Held>>>,
    prefix: String,
}

impl Listener {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, mut orders: mpsc::UnboundedReceiver<String>) {
        let mut failures = 0;
        // Nothing is connected before something is to be heard.
        let mut first = orders.recv().await;
        while let Some(channel) = first.take() {
            drop(channel);
            match self.shared.link.pubsub().await {
                Ok(connection) => {
                    let (sink, stream) = connection.split();
                    let broken = self.listen(sink, stream, &mut orders, &mut failures).await;
                    if broken.is_none() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection to hear announcements on"),
            }
            failures += 1;
            // Whoever looks now has to do without; all are told once the connection stands again.
            self.stand(None);
            tokio::time::sleep(BACKOFF.wait(failures)).await;
            first = Some(String::new());
        }
    }

    /// Hears until the connection breaks; None: nobody is left to hear.
    async fn listen(
        &self,
        mut sink: PubSubSink,
        mut stream: PubSubStream,
        orders: &mut mpsc::UnboundedReceiver<String>,
        failures: &mut u32,
    ) -> Option<()> {
        let mut subscribed = HashSet::new();
        let all: Vec<String> = self.held().keys().cloned().collect();
        for some in all.chunks(TOGETHER) {
            if !self.follow(&mut sink, some, &mut subscribed).await {
                return Some(());
            }
        }
        if *failures > 0 {
            if !self.catch_up().await {
                return Some(());
            }
            *failures = 0;
        }
        let mut ordered = Vec::new();
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.hear(&message),
                    None => return Some(()),
                },
                count = orders.recv_many(&mut ordered, TOGETHER) => {
                    if count == 0 {
                        return None;
                    }
                    let some = std::mem::take(&mut ordered);
                    if !self.follow(&mut sink, &some, &mut subscribed).await {
                        return Some(());
                    }
                }
            }
        }
    }

    /// Subscribes to those of the channels that are wanted, and from those that no longer are.
    async fn follow(&self, sink: &mut PubSubSink, channels: &[String], subscribed: &mut HashSet<String>) -> bool {
        let (wanted, unwanted): (Vec<_>, Vec<_>) = {
            let held = self.held();
            channels.iter().cloned().partition(|channel| held.contains_key(channel))
        };
        let unwanted: Vec<_> = unwanted.into_iter().filter(|channel| subscribed.remove(channel)).collect();
        let new: Vec<_> = wanted.iter().filter(|channel| subscribed.insert((*channel).clone())).cloned().collect();
        if !unwanted.is_empty() && sink.unsubscribe(&unwanted).await.is_err() {
            return false;
        }
        if !new.is_empty() && sink.subscribe(&new).await.is_err() {
            return false;
        }
        self.stand(Some(&wanted));
        true
    }

    /// Lets those go on who wait for these channels (all, if none are named).
    fn stand(&self, channels: Option<&[String]>) {
        let held = self.held();
        match channels {
            Some(channels) => {
                for entry in channels.iter().filter_map(|channel| held.get(channel)) {
                    entry.stands.send_replace(true);
                }
            }
            None => {
                for entry in held.values() {
                    entry.stands.send_replace(true);
                }
            }
        }
    }

    fn hear(&self, message: &redis::Msg) {
        let Ok(text) = message.get_payload::<String>() else { return };
        let Some(channel) = message.get_channel_name().strip_prefix(&self.prefix) else { return };
        let mut words = text.split(' ');
        let id = match channel.split_once(':') {
            Some(("job", id)) => Some(id),
            Some(("cell", name)) => return self.hear_cell(name, &text),
            Some(_) => words.next(),
            None => None,
        };
        let (Some(id), Some(status), Some(origin)) = (id, words.next(), words.next()) else { return };
        // What this store did itself it has told already.
        if origin == self.shared.origin {
            return;
        }
        if let (Ok(id), Ok(status)) = (id.parse::<JobId>(), status.parse::<Status>()) {
            self.shared.watchers.changed(id, status);
        }
    }

    fn hear_cell(&self, name: &str, text: &str) {
        let mut words = text.splitn(4, ' ');
        let (Some(version), Some(origin), Some(now), Some(value)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        if origin == self.shared.origin {
            return;
        }
        if let (Ok(version), Ok(now)) = (version.parse(), now.parse()) {
            self.shared.cells.changed(name, Cell { version, value: value.to_owned(), now: Timestamp(now) });
        }
    }

    /// Tells every waiter how things stand now; false if that could not be found out, and must be tried again lest
    /// somebody waits for what has happened.
    async fn catch_up(&self) -> bool {
        for some in self.shared.watchers.watched().chunks(TOGETHER) {
            let statuses = self.shared.call::<Vec<String>>(&scripts::STATUSES, Confirm::No, |command| {
                for id in some {
                    command.arg(id.to_string());
                }
            });
            let Ok(statuses) = statuses.await else { return false };
            for (id, status) in some.iter().zip(statuses) {
                // One that is gone was final.
                self.shared.watchers.changed(*id, status.parse().unwrap_or(Status::Cancelled));
            }
        }
        for name in self.shared.cells.watched() {
            let Ok(cell) = self.shared.cell(&name).await else { return false };
            self.shared.cells.found(&name, cell);
        }
        true
    }
}
