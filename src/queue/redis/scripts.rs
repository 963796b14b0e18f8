//! The Lua scripts, each put together from what it stands on. `flags=allow-oom` lets what is under way go on to
//! its end while the server is out of memory; only a submit is refused then.

use std::sync::LazyLock;

use super::link::Script;

const JOB: &str = include_str!("lua/job.lua");
const DOCUMENTS: &str = include_str!("lua/documents.lua");
const ENDING: &str = include_str!("lua/ending.lua");

macro_rules! scripts {
    ($($flags:literal: $($name:ident = $file:literal;)*)*) => {
        $($(
            #[doc = concat!("`lua/", $file, "`")]
            pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new(&[$flags, JOB, DOCUMENTS, ENDING, include_str!(concat!("lua/", $file))].concat())
            });
        )*)*
    };
}

scripts! {
    "#!lua\n":
        STORE_UPLOAD = "store_upload.lua";
        SUBMIT = "submit.lua";
    "#!lua flags=allow-oom\n":
        AUDIT = "audit.lua";
        CANCEL = "cancel.lua";
        CANCEL_SOME = "cancel_some.lua";
        CAUSES = "causes.lua";
        CELL = "cell.lua";
        COLLECTIONS = "collections.lua";
        COUNT_LETTERS = "count_letters.lua";
        DEAD_LETTER = "dead_letter.lua";
        DEAD_LETTERS = "dead_letters.lua";
        DELTA = "delta.lua";
        DISCARD = "discard.lua";
        DOCUMENTS_OF = "documents_of.lua";
        EVENTS = "events.lua";
        FETCH = "fetch.lua";
        FINISH = "finish.lua";
        HEARTBEAT = "heartbeat.lua";
        HISTORY = "history.lua";
        HOLDS = "holds.lua";
        KEEP = "keep.lua";
        LEAVE = "leave.lua";
        LEFTOVERS = "leftovers.lua";
        NOTE = "note.lua";
        PAUSE = "pause.lua";
        RECORD = "record.lua";
        RELEASE = "release.lua";
        REPLAY = "replay.lua";
        REPLAY_LETTERS = "replay_letters.lua";
        SPEND = "spend.lua";
        STATS = "stats.lua";
        STATUSES = "statuses.lua";
        SWAP_CELL = "swap_cell.lua";
        SWEPT = "swept.lua";
        TURNS = "turns.lua";
        UPKEEP = "upkeep.lua";
        UPLOAD = "upload.lua";
        VIEW = "view.lua";
        VISIBLE = "visible.lua";
}
