//! Taking out who was not heard in time, a slice at a time, so that no announce waits long for it.

use super::{Change, Shard, Table, What, lock, swarm::Departure};
use crate::{metainfo::InfoHash, time::Time};
use core::sync::atomic::Ordering;

/// Members that are looked at under one lock: some 20 microseconds, a few hundred if all of them go.
const SLICE: usize = 2048;

/// The swarms of one shard where somebody may be due, and how far the first of them has been walked.
struct Due {
    swarms: Vec<InfoHash>,
    walked: Option<usize>,
}

impl Table {
    /// Takes out who was not heard in time; to be called about once a second. A swarm where nobody can be due costs one
    /// comparison.
    pub fn sweep(&self, now: Time, mut tell: impl FnMut(Change)) {
        for shard in &self.shards {
            let is_due = lock(shard).iter().filter(|(_, swarm)| swarm.is_due(now)).map(|(hash, _)| *hash).collect();
            let mut due = Due { swarms: is_due, walked: None };
            while !due.swarms.is_empty() {
                self.sweep_slice(&mut lock(shard), now, &mut due, &mut tell);
            }
        }
    }

    fn sweep_slice(&self, shard: &mut Shard, now: Time, due: &mut Due, tell: &mut impl FnMut(Change)) {
        let mut budget = SLICE;
        while budget > 0
            && let Some(&info_hash) = due.swarms.last()
        {
            // A swarm has its price even when it is short.
            budget -= 1;
            let Some(swarm) = shard.get_mut(&info_hash) else {
                due.swarms.pop();
                due.walked = None;
                continue;
            };
            let before = swarm.members();
            let mut members = before;
            swarm.expire(now, &mut due.walked, &mut budget, |Departure { address, stays }| {
                members -= 1;
                let (what, word_of) = (What::Silent, None);
                tell(Change { info_hash, address, claimed: false, dial: false, stays, what, members, word_of });
            });
            self.members.fetch_sub(before - members, Ordering::Relaxed);
            if members == 0 {
                self.forget(shard, &info_hash);
            }
            if due.walked.is_none() {
                due.swarms.pop();
            }
        }
    }
}
