//! How fast a process asks its conductors, where one of them says that it is asked too often.
//!
//! A conductor has an allowance for each source, which nobody tells a member. One that announces many compositions asks as
//! fast as it can until it is refused; from then on its questions to that conductor wait for each other. The gap between
//! two grows with each refusal and shrinks with each answer, so that the rate settles just below the allowance. It is said
//! once in the log, and a question that was refused is asked again when its turn comes. A conductor on the internet is asked
//! carefully from the start: it knows this member by a public address, which has little.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Mutex as Queue,
    time::{Instant, sleep_until},
};

use crate::net::range::is_near;

/// First gap between questions to a conductor on the internet.
const CAREFUL_GAP: Duration = Duration::from_millis(500);
/// Gap after the first refusal.
const FIRST_GAP: Duration = Duration::from_millis(100);
/// Longest gap between two questions.
const MAX_GAP: Duration = Duration::from_secs(2);
/// Gaps below this are none.
const MIN_GAP: Duration = Duration::from_millis(20);
/// Pause of all questions after a refusal. Further refusals within it are answers to questions that were asked before, and
/// do not make the gap longer.
const PAUSE: Duration = Duration::from_secs(1);
/// Share of a gap that is left after an answer.
const SHRINK: f64 = 0.98;

/// Conductors whose paces are remembered, beside those that are being asked. Where there are more, those that may be asked at
/// once are forgotten.
const MAX_PACES: usize = 1024;

/// The pace of all questions of a process. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Paces(Arc<Mutex<HashMap<IpAddr, Arc<Pace>>>>);

/// The pace of questions to one conductor.
#[derive(Debug)]
struct Pace {
    /// The next question, which waits for its time, and behind it the others in the order in which they came.
    queue: Queue<()>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    gap: Duration,
    /// When the next question may be asked.
    next: Option<Instant>,
    /// Until when refusals are answers to earlier questions.
    paused: Option<Instant>,
}

impl State {
    /// Takes a turn, if one may be taken now; or says when that is.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        match self.next.filter(|next| *next > now) {
            Some(next) => Err(next),
            None => {
                self.next = Some(now + self.gap);
                Ok(())
            }
        }
    }

    /// Whether a question has to wait.
    fn is_due_later(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next > now)
    }

    /// Takes in a refusal; whether it is the first since all was well.
    fn refused(&mut self, now: Instant) -> bool {
        if self.paused.is_some_and(|until| now < until) {
            return false;
        }
        let first = self.gap.is_zero();
        self.gap = (self.gap * 2).clamp(FIRST_GAP, MAX_GAP);
        (self.paused, self.next) = (Some(now + PAUSE), Some(now + PAUSE));
        first
    }

    fn answered(&mut self) {
        let gap = self.gap.mul_f64(SHRINK);
        self.gap = if gap < MIN_GAP { Duration::ZERO } else { gap };
    }
}

impl Paces {
    fn of(&self, conductor: SocketAddr) -> Arc<Pace> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ip = conductor.ip().to_canonical();
        if all.len() >= MAX_PACES && !all.contains_key(&ip) {
            let now = Instant::now();
            all.retain(|_, pace| Arc::strong_count(pace) > 1 || pace.edit(|state| state.is_due_later(now)));
        }
        all.entry(ip).or_insert_with(|| Arc::new(Pace::of(ip))).clone()
    }

    /// Waits until this conductor may be asked.
    pub async fn turn(&self, conductor: SocketAddr) {
        let pace = self.of(conductor);
        let _first = pace.queue.lock().await;
        while let Err(next) = pace.edit(|state| state.take(Instant::now())) {
            sleep_until(next).await;
        }
    }

    /// This conductor says that it is asked too often.
    pub fn refused(&self, conductor: SocketAddr) {
        if self.of(conductor).edit(|state| state.refused(Instant::now())) {
            log::info!("conductor {conductor}: it is asked too often, and is asked less often from now on");
        }
    }

    /// This conductor has answered.
    pub fn answered(&self, conductor: SocketAddr) {
        self.of(conductor).edit(State::answered);
    }
}

impl Pace {
    fn of(conductor: IpAddr) -> Self {
        let gap = if is_near(conductor) { Duration::ZERO } else { CAREFUL_GAP };
        Self { queue: Queue::default(), state: Mutex::new(State { gap, ..State::default() }) }
    }

    fn edit<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    const CONDUCTOR: ([u8; 4], u16) = ([8, 8, 8, 8], 9999);

    /// Asks this many questions of a conductor with an allowance of 20 a second and of 100 at once; gives the seconds that
    /// it took and the refusals.
    fn ask(questions: usize) -> (u64, usize) {
        let start = Instant::now();
        let (mut state, mut refusals) = (State::default(), 0);
        let (mut now, mut full_at) = (start, start);
        for _ in 0..questions {
            loop {
                while let Err(next) = state.take(now) {
                    now = next;
                }
                let next = full_at.max(now) + Duration::from_millis(50);
                if next <= now + Duration::from_secs(5) {
                    full_at = next;
                    state.answered();
                    break;
                }
                state.refused(now);
                refusals += 1;
            }
        }
        ((now - start).as_secs(), refusals)
    }

    #[test]
    fn few_questions_are_asked_at_once() {
        assert_eq!(ask(100), (0, 0));
    }

    #[test]
    fn many_questions_are_asked_at_the_rate_that_is_allowed() {
        // 100 at once, and 2,000 at 20 a second.
        let (seconds, refusals) = ask(2100);
        assert!((99..140).contains(&seconds) && refusals < 50, "{seconds} s, {refusals} refusals");
    }

    #[test]
    fn refusals_of_one_moment_count_once() {
        let (mut state, now) = (State::default(), Instant::now());
        let first = [(); 16].map(|()| state.refused(now));
        assert_eq!((first.iter().filter(|first| **first).count(), state.gap), (1, FIRST_GAP));
        (0..9).for_each(|nth| _ = state.refused(now + PAUSE * nth));
        assert_eq!(state.gap, MAX_GAP);
    }

    #[test]
    fn one_conductor_does_not_slow_another_down() {
        let paces = Paces::default();
        paces.refused(CONDUCTOR.into());
        let take = |ip: [u8; 4]| paces.of((ip, 9999).into()).edit(|state| state.take(Instant::now()).is_ok());
        assert_eq!([take([1, 1, 1, 1]), take([8, 8, 8, 8])], [true, false]);
    }

    #[test]
    fn paces_that_hold_nobody_up_are_forgotten() {
        let paces = Paces::default();
        let refuses = SocketAddr::from(([10, 9, 9, 9], 9999));
        paces.refused(refuses);
        for n in 0..2 * MAX_PACES as u32 {
            paces.answered(SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 9999)));
        }
        let all = paces.0.lock().unwrap();
        assert!(all.len() <= MAX_PACES && all.contains_key(&refuses.ip()), "{}", all.len());
    }

    #[test]
    fn a_conductor_on_the_internet_is_asked_carefully_from_the_start() {
        let (paces, now) = (Paces::default(), Instant::now());
        let takes = |ip: [u8; 4]| {
            let take = |_| paces.of((ip, 9999).into()).edit(|state| state.take(now).is_ok());
            [(); 3].map(take).into_iter().filter(|taken| *taken).count()
        };
        assert_eq!([takes([10, 0, 0, 1]), takes([8, 8, 8, 8])], [3, 1]);
    }
}
