//! Whether the other side of a connection is still there: what counts as silence, and what follows from it.
//!
//! Only what the other side does ends a silence: bytes of it that were read. Nothing of our own does, neither a wake-up
//! nor what we send. Time in which this side did not read, because of a download limit, a disk that has to catch up or
//! answers that the other side does not take, is no silence either, since bytes may lie unread in the socket.
//!
//! A slow peer is not a dead one. It may queue us behind sixty others, or wait for a disk, for minutes. Which of the two a
//! silence means depends on what the other side said that it does:
//! - *Prompt* peers (our own members, `oc_alive` in the extension handshake) say something, if only a keep-alive, every
//!   [`BUSY_KEEP_ALIVE`] while either side has requests outstanding, however long those take to answer. Silence then means
//!   that the host, the program or the path is gone. The same holds for every peer in the middle of a block that it
//!   has begun to send.
//! - Others promise nothing. A keep-alive of theirs proves that the connection works, not that blocks will come; whether
//!   they serve is for the swarm's stalls to say. With requests outstanding a silence ends the connection after
//!   [`OWING_TIMEOUT`]; where blocks came before, after [`ANSWER_GAPS`] times the longest time in which none did, if that
//!   is less, but not before [`MIN_OWING_TIMEOUT`]. Without requests it is two of their keep-alive intervals.
//!
//! | silence | with | follows |
//! |---|---|---|
//! | [`QUIET_AFTER`] | anybody | a new connection of the same peer takes the place of this one ([`Silence::Idle`], [`Silence::Owing`]) |
//! | [`OVERDUE_AFTER`] | prompt peers with requests outstanding; anybody in mid-block | what was asked of it is asked elsewhere ([`Silence::Overdue`]) |
//! | [`PROMPT_TIMEOUT`] | the same | the connection is closed |
//!
//! Where the path is dead, the kernel finds out about peers that promise nothing: see `socket::prepare`.

use crate::time::Time;

/// Longest time between two things said to the other side while either has requests outstanding.
pub const BUSY_KEEP_ALIVE: Time = Time::from_secs(3);
/// A longer interval than this in `oc_alive`, in seconds, is no promise: the times below would be too short for it.
pub const MAX_PROMISE: u32 = 4;
/// After this much silence a new connection of the same peer replaces this one.
pub const QUIET_AFTER: Time = Time::from_secs(5);
/// After this much silence requests are taken elsewhere. It leaves room for two keep-alives that come late.
pub const OVERDUE_AFTER: Time = Time::from_secs(8);
/// After this much silence a peer is gone that would have said something.
pub const PROMPT_TIMEOUT: Time = Time::from_secs(14);
/// The same for a peer that promised nothing and has requests of ours, and gave nothing so far: it may serve others first.
/// libtorrent gives a request as long.
pub const OWING_TIMEOUT: Time = Time::from_secs(60);
/// The same for one that gave blocks, at least: a firewall that drops a connection may also hide from our kernel that
/// nothing is acknowledged any more, and a new connection works at once.
pub const MIN_OWING_TIMEOUT: Time = Time::from_secs(18);
/// A peer with a low upload limit sends a block now and then: it may be silent for so many times as long as it was.
const ANSWER_GAPS: u32 = 4;
/// The same with nothing outstanding: stock clients keep alive every 120 s at the latest, our own every 30 s.
const IDLE_TIMEOUT: (Time, Time) = (Time::from_secs(270), Time::from_secs(90));
/// Stock clients leave peers that they do not hear for as little as 10 s (rqbit); our own members are patient.
const KEEP_ALIVE: (Time, Time) = (Time::from_secs(8), Time::from_secs(30));

/// How silent the other side is; each is worse than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// It was heard of late.
    #[default]
    Over,
    /// Nothing for [`QUIET_AFTER`], and nothing is outstanding on either side.
    Idle,
    /// Nothing for [`QUIET_AFTER`] while requests are outstanding.
    Owing,
    /// It should have said something, and has not for [`OVERDUE_AFTER`].
    Overdue,
}

/// What a silence is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duty {
    /// One of our own members.
    pub ours: bool,
    /// It keeps alive every [`BUSY_KEEP_ALIVE`] while requests are outstanding.
    pub prompt: bool,
    /// It has to answer requests of ours.
    pub owes: bool,
    /// It waits for blocks of ours.
    pub waits: bool,
    /// It has begun to send a block.
    pub in_block: bool,
}

impl Duty {
    fn busy(self) -> bool {
        self.owes || self.waits
    }
}

/// When each side was last heard, and what the swarm was told of it.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    heard: Time,
    said: Time,
    /// When requests last became outstanding; `None` while none are. Before that it had no reason to speak.
    busy_since: Option<Time>,
    duty: Duty,
    /// The longest silence with requests of ours outstanding that ended, and whether blocks came since the start.
    longest_gap: Time,
    answers: bool,
    told: Silence,
}

impl Liveness {
    pub fn new(now: Time) -> Self {
        Self {
            heard: now,
            said: now,
            busy_since: None,
            duty: Duty::default(),
            longest_gap: Time::ZERO,
            answers: false,
            told: Silence::Over,
        }
    }

    /// Bytes came. Returns true if the swarm believes that it is silent, and is to be told that this is over.
    pub fn hear(&mut self, now: Time) -> bool {
        if let Some(since) = self.owed_since().filter(|_| self.duty.owes) {
            self.longest_gap = self.longest_gap.max(now.saturating_sub(since));
        }
        self.heard = now;
        std::mem::take(&mut self.told) != Silence::Over
    }

    /// It began to send a block.
    pub fn hear_answer(&mut self) {
        self.answers = true;
    }

    /// Nothing was read for this long, whatever came.
    pub fn skip(&mut self, unread: Time, now: Time) {
        self.heard = later(self.heard, unread, now);
        self.busy_since = self.busy_since.map(|since| later(since, unread, now));
    }

    /// Bytes went to the other side.
    pub fn say(&mut self, now: Time) {
        self.said = now;
    }

    /// What is outstanding changed.
    pub fn judge_by(&mut self, duty: Duty, now: Time) {
        self.busy_since = duty.busy().then(|| self.busy_since.unwrap_or(now));
        self.duty = duty;
    }

    pub fn keep_alive_due(&self, now: Time) -> bool {
        now >= self.said + self.keep_alive()
    }

    /// The silence as it is now, if the swarm was not told of it.
    pub fn news(&mut self, now: Time) -> Option<Silence> {
        let steps = self.steps().into_iter().flatten();
        let silence = steps.filter(|(at, silence)| now >= *at && *silence > self.told).map(|(_, s)| s).max()?;
        self.told = silence;
        Some(silence)
    }

    pub fn is_over(&self, now: Time) -> bool {
        now >= self.end()
    }

    /// When something is due: a keep-alive, news, or the end.
    pub fn deadline(&self) -> Time {
        let news = self.steps().into_iter().flatten().filter(|(_, silence)| *silence > self.told).map(|(at, _)| at);
        news.fold(self.end().min(self.said + self.keep_alive()), Time::min)
    }

    fn keep_alive(&self) -> Time {
        match self.duty.ours {
            _ if self.duty.busy() => BUSY_KEEP_ALIVE,
            true => KEEP_ALIVE.1,
            false => KEEP_ALIVE.0,
        }
    }

    /// When it was heard last, or first had a reason to speak after that.
    fn owed_since(&self) -> Option<Time> {
        self.busy_since.map(|since| since.max(self.heard))
    }

    /// From when it should have spoken by now.
    fn due_since(&self) -> Option<Time> {
        match self.duty.in_block {
            true => Some(self.heard),
            false => self.owed_since().filter(|_| self.duty.prompt),
        }
    }

    fn steps(&self) -> [Option<(Time, Silence)>; 3] {
        [
            Some((self.heard + QUIET_AFTER, Silence::Idle)),
            self.owed_since().or(self.due_since()).map(|since| (since + QUIET_AFTER, Silence::Owing)),
            self.due_since().map(|since| (since + OVERDUE_AFTER, Silence::Overdue)),
        ]
    }

    fn end(&self) -> Time {
        let idle = self.heard + if self.duty.ours { IDLE_TIMEOUT.1 } else { IDLE_TIMEOUT.0 };
        let patience = match self.answers {
            true => (self.longest_gap * ANSWER_GAPS).clamp(MIN_OWING_TIMEOUT, OWING_TIMEOUT),
            false => OWING_TIMEOUT,
        };
        let owing = self.owed_since().filter(|_| self.duty.owes && !self.duty.ours).map(|since| since + patience);
        let due = self.due_since().map(|since| since + PROMPT_TIMEOUT);
        [owing, due].into_iter().flatten().fold(idle, Time::min)
    }
}

/// `then`, moved by `by` but not beyond `now`.
fn later(then: Time, by: Time, now: Time) -> Time {
    (then + by).min(now).max(then)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: Duty = Duty { ours: true, prompt: true, owes: true, waits: false, in_block: false };
    const STOCK: Duty = Duty { ours: false, prompt: false, owes: true, waits: false, in_block: false };

    fn second(n: u64) -> Time {
        Time::from_secs(n)
    }

    /// When a peer of which `duty` is true from the start is called silent, and when it is left, in seconds.
    fn fate(duty: Duty) -> (Vec<(u64, Silence)>, u64) {
        let mut liveness = Liveness::new(Time::ZERO);
        liveness.judge_by(duty, Time::ZERO);
        let mut news = Vec::new();
        loop {
            let now = liveness.deadline();
            if liveness.is_over(now) {
                return (news, now.as_secs());
            }
            news.extend(liveness.news(now).map(|silence| (now.as_secs(), silence)));
            if liveness.keep_alive_due(now) {
                liveness.say(now);
            }
        }
    }

    #[test]
    fn how_long_a_silence_is_taken_depends_on_what_was_promised() {
        let owing = vec![(5, Silence::Owing)];
        let overdue = vec![(5, Silence::Owing), (8, Silence::Overdue)];
        let idle = vec![(5, Silence::Idle)];
        assert_eq!(fate(PROMPT), (overdue.clone(), 14));
        assert_eq!(fate(Duty { owes: false, waits: true, ..PROMPT }), (overdue.clone(), 14), "it waits for our blocks");
        assert_eq!(fate(Duty { in_block: true, ..STOCK }), (overdue, 14));
        assert_eq!(fate(STOCK), (owing.clone(), 60));
        assert_eq!(fate(Duty { prompt: false, ..PROMPT }), (owing, 90), "an older one of ours, which queues us");
        assert_eq!(fate(Duty { owes: false, ..PROMPT }), (idle.clone(), 90));
        assert_eq!(fate(Duty { owes: false, ..STOCK }), (idle, 270));
    }

    /// When a stock peer is left that gave a block after each of these seconds, and no more.
    fn left_after(gaps: &[u64]) -> u64 {
        let mut liveness = Liveness::new(Time::ZERO);
        liveness.judge_by(STOCK, Time::ZERO);
        let mut now = Time::ZERO;
        for gap in gaps {
            now += second(*gap);
            assert!(!liveness.is_over(now), "{gaps:?}");
            liveness.hear(now);
            liveness.hear_answer();
        }
        let silent = (0..).find(|n| liveness.is_over(now + second(*n)));
        silent.expect("an end")
    }

    #[test]
    fn who_promised_nothing_is_left_sooner_the_faster_it_was() {
        assert_eq!(left_after(&[]), 60);
        assert_eq!(left_after(&[1, 0, 0, 1]), 18);
        assert_eq!(left_after(&[1, 6, 0]), 24);
        // A low upload limit lets a block of 16 KiB through now and then.
        assert_eq!(left_after(&[17, 17, 17, 17]), 60);
        assert_eq!(left_after(&[55, 55]), 60);
    }

    #[test]
    fn it_owes_nothing_before_it_is_asked() {
        let mut liveness = Liveness::new(Time::ZERO);
        liveness.judge_by(Duty { owes: false, ..PROMPT }, Time::ZERO);
        assert_eq!(liveness.news(second(29)), Some(Silence::Idle));
        liveness.judge_by(PROMPT, second(29));
        assert_eq!(liveness.news(second(33)), None);
        assert_eq!(liveness.news(second(34)), Some(Silence::Owing));
        // More is asked of it: that is nothing that it did.
        liveness.judge_by(PROMPT, second(35));
        assert!(!liveness.is_over(second(42)) && liveness.is_over(second(43)));
    }

    #[test]
    fn only_what_it_says_ends_a_silence() {
        let mut liveness = Liveness::new(Time::ZERO);
        liveness.judge_by(PROMPT, Time::ZERO);
        assert_eq!(liveness.news(second(8)), Some(Silence::Overdue));
        (8..14).for_each(|n| liveness.say(second(n)));
        assert!(liveness.is_over(second(14)));
        assert!(liveness.hear(second(14)), "the swarm was told of it");
        assert!(!liveness.hear(second(14)));
        assert!(!liveness.is_over(second(27)));
    }

    #[test]
    fn what_was_not_read_is_no_silence() {
        let mut liveness = Liveness::new(Time::ZERO);
        liveness.judge_by(PROMPT, Time::ZERO);
        // A download limit lets nothing be read for a minute, but for a moment in each second.
        for n in 1..=60 {
            liveness.skip(Time::from_millis(900), second(n));
        }
        assert_eq!(liveness.news(second(60)), Some(Silence::Owing));
        assert!(!liveness.is_over(second(60)));
        liveness.skip(second(3600), second(61));
        assert!(!liveness.is_over(second(61)), "never later than now");
    }

    #[test]
    fn who_has_requests_outstanding_is_told_something_in_time() {
        let mut liveness = Liveness::new(Time::ZERO);
        liveness.judge_by(PROMPT, Time::ZERO);
        assert!(liveness.keep_alive_due(second(3)) && !liveness.keep_alive_due(Time::from_millis(2900)));
        liveness.judge_by(Duty { owes: false, ..PROMPT }, Time::ZERO);
        assert!(!liveness.keep_alive_due(second(29)) && liveness.keep_alive_due(second(30)));
        assert!(BUSY_KEEP_ALIVE <= Time::from_secs(u64::from(MAX_PROMISE)) && BUSY_KEEP_ALIVE < QUIET_AFTER);
    }
}
