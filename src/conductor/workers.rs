//! The threads that answer, one a core. Each has sockets of its own on the same port, so that none waits for another:
//! the system spreads what comes over them.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::{Desk, connection_id::ConnectionIds, http, room::Room, udp};
use crate::net::front::{Front, Share};

/// More threads than this have not been seen to answer more.
const MOST: usize = 16;
/// How long answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What every thread needs to answer.
#[derive(Clone)]
pub struct Work {
    pub desk: Arc<Desk>,
    pub room: Room,
    pub ids: ConnectionIds,
    pub stop: CancellationToken,
}

/// How many threads this machine has use for.
pub fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST)
}

/// Starts the threads, which end when they are told to stop.
///
/// # Errors
/// The system gives no thread, or nothing to wait for sockets with.
pub fn start(fronts: Vec<Front>, work: &Work) -> io::Result<()> {
    let mut threads: Vec<Vec<Share>> = Vec::new();
    for front in fronts {
        for (nth, share) in front.shares.into_iter().enumerate() {
            match threads.get_mut(nth) {
                Some(shares) => shares.push(share),
                None => threads.push(vec![share]),
            }
        }
    }
    for (nth, shares) in threads.into_iter().enumerate() {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let work = work.clone();
        let answer = move || runtime.block_on(answer_until_stopped(shares, work));
        thread::Builder::new().name(format!("answers {nth}")).spawn(answer)?;
    }
    Ok(())
}

async fn answer_until_stopped(shares: Vec<Share>, work: Work) {
    let Work { desk, room, ids, stop } = work;
    for share in shares {
        tokio::spawn(http::serve(share.tcp, desk.clone(), room.clone(), stop.clone()));
        for socket in share.udp {
            tokio::spawn(udp::serve(socket, desk.clone(), ids.clone(), stop.clone()));
        }
    }
    stop.cancelled().await;
    let _ = tokio::time::timeout(LAST_ANSWERS, room.emptied()).await;
}
