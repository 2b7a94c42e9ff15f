//! Conversations with members written by hand, who need not keep to any rule.

use super::*;

/// A member written by hand at the other end of a conversation of ours, which has nothing and fetches.
struct ByHand {
    stream: TcpStream,
    bytes: Vec<u8>,
    came: Vec<u8>,
}

impl ByHand {
    /// Four parts of 64 KiB; it says that it has all of them.
    async fn seed() -> (Self, Owner, TempDir) {
        let folder = TempDir::new().unwrap();
        let (store, _disk) = opened(contents(&composition(1 << 18), 1 << 16), folder.path()).await;
        let (by_hand, owner) = Self::meets(store).await;
        (by_hand, owner, folder)
    }

    /// The same for a store that may have something of it already.
    async fn meets(store: Store) -> (Self, Owner) {
        let (ours, stream) = two_sockets().await;
        let mut owner = Owner::start(ours, store, Show::Nothing, false, Limiter::default());
        let mut by_hand = Self { stream, bytes: composition(1 << 18), came: Vec::new() };
        by_hand.say(&[Message::HaveAll, Message::Unchoke]).await;
        owner.until_event(&Event::Choked(false)).await;
        (by_hand, owner)
    }

    async fn say(&mut self, messages: &[Message]) {
        let mut out = Vec::new();
        messages.iter().for_each(|message| encode(message, &mut out));
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next frame; a block's payload stays where it is.
    async fn hear(&mut self) -> Frame {
        loop {
            if let Some((frame, taken)) = decode(&self.came, &Limits { block: BLOCK }).unwrap() {
                self.came.drain(..taken);
                return frame;
            }
            assert!(self.stream.read_buf(&mut self.came).await.unwrap() > 0, "it closed");
        }
    }

    async fn request(&mut self) -> RawBlock {
        loop {
            if let Frame::Message(Message::Request(block)) = self.hear().await {
                return block;
            }
        }
    }

    /// Gives what it is asked for, until the end; then what that was.
    async fn serve(mut self) -> Vec<RawBlock> {
        let mut asked = Vec::new();
        loop {
            while let Some((frame, taken)) = decode(&self.came, &Limits { block: BLOCK }).unwrap() {
                self.came.drain(..taken);
                if let Frame::Message(Message::Request(block)) = frame {
                    asked.push(block);
                    let bytes = self.block(block);
                    self.stream.write_all(&bytes).await.unwrap();
                }
            }
            if self.stream.read_buf(&mut self.came).await.unwrap() == 0 {
                return asked;
            }
        }
    }

    /// A block as it goes over the wire.
    fn block(&self, block: RawBlock) -> Vec<u8> {
        let mut out = Vec::new();
        encode_block_header(&block, &mut out);
        let start = (block.part as usize) << 16 | block.begin as usize;
        out.extend_from_slice(&self.bytes[start..][..block.len as usize]);
        out
    }
}

#[tokio::test]
async fn blocks_land_however_they_trickle_in() {
    let (mut seed, mut owner, _folder) = ByHand::seed().await;
    owner.fetch(2).await;
    let mut out = Vec::new();
    for _ in 0..4 {
        let block = seed.request().await;
        out.extend(seed.block(block));
        encode(&Message::Have(0), &mut out);
    }
    for some in out.chunks(7_001) {
        seed.stream.write_all(some).await.unwrap();
        tokio::task::yield_now().await;
    }
    let part = owner.store.geometry().part(2).unwrap();
    owner.until_event(&Event::Right(part)).await;
}

#[tokio::test]
async fn who_sends_wrong_bytes_is_held_to_account() {
    let (mut seed, mut owner, _folder) = ByHand::seed().await;
    owner.fetch(1).await;
    for _ in 0..4 {
        let block = seed.request().await;
        let mut out = seed.block(block);
        *out.last_mut().unwrap() ^= 1;
        seed.stream.write_all(&out).await.unwrap();
    }
    let part = owner.store.geometry().part(1).unwrap();
    owner.until_event(&Event::Wrong { part, alone: true }).await;
}

/// The blocks that lack to a part that was put away.
fn blocks_missing(owner: &Owner, part: PartIndex) -> Vec<u32> {
    let parked = owner.store.take_parked(part).unwrap();
    parked.missing().into_iter().flatten().collect()
}

#[tokio::test]
async fn what_came_of_a_part_is_kept_when_the_connection_breaks() {
    let (mut seed, mut owner, _folder) = ByHand::seed().await;
    owner.fetch(3).await;
    let first = seed.request().await;
    let second = seed.request().await;
    let out = [seed.block(first), seed.block(second)[..100].to_vec()].concat();
    seed.stream.write_all(&out).await.unwrap();
    let mut received = 0;
    while received < BLOCK + 100 - 13 {
        received += owner.until(|e| if let Event::Received { bytes, .. } = e { Some(*bytes) } else { None }).await;
    }
    // Without the rest of what we said unread, or the kernel would answer with a reset.
    for _ in 0..2 {
        seed.request().await;
    }
    drop(seed);
    assert_eq!(owner.closed().await, Closed::ByThem);
    let part = owner.store.geometry().part(3).unwrap();
    assert_eq!(blocks_missing(&owner, part), [1, 2, 3]);
}

#[tokio::test]
async fn a_part_released_in_the_middle_of_a_block_is_put_away_first() {
    let (mut seed, mut owner, _folder) = ByHand::seed().await;
    owner.fetch(0).await;
    let mut blocks = Vec::new();
    for _ in 0..4 {
        let block = seed.request().await;
        blocks.extend(seed.block(block));
    }
    let (now, later) = blocks.split_at(BLOCK as usize + 1000);
    seed.stream.write_all(now).await.unwrap();
    let mut received = 0;
    while received < BLOCK + 1000 - 2 * 13 {
        received += owner.until(|e| if let Event::Received { bytes, .. } = e { Some(*bytes) } else { None }).await;
    }
    let part = owner.store.geometry().part(0).unwrap();
    owner.tell(Command::Release(part)).await;
    owner.until_event(&Event::Released { part, refused: false }).await;
    assert_eq!(blocks_missing(&owner, part), [1, 2, 3]);
    // What comes late is read over, and the conversation goes on.
    seed.stream.write_all(later).await.unwrap();
    seed.say(&[Message::Have(1)]).await;
    let other = owner.store.geometry().part(1).unwrap();
    owner.until_event(&Event::Has(other)).await;
}

/// Reads until nothing more is there, and tells nobody.
async fn read_all(driver: &mut Driver) {
    driver.talk.stream.readable().await.unwrap();
    while driver.receiver.turn(&mut driver.talk).unwrap() != Turn::Socket {}
}

/// It is parked with nothing missing: whoever fetches it next has nothing to ask for, and must not wait for anything.
#[tokio::test]
async fn a_part_whose_last_bytes_come_as_it_is_released_is_whole_for_the_next_one() {
    let folder = TempDir::new().unwrap();
    let (store, _disk) = opened(contents(&composition(1 << 18), 1 << 16), folder.path()).await;
    let (ours, stream) = two_sockets().await;
    let (link, mut owner) = Owner::of(ours, store, Show::Nothing, false, Limiter::default());
    let mut seed = ByHand { stream, bytes: composition(1 << 18), came: Vec::new() };
    let mut driver = Driver::new(link);
    seed.say(&[Message::HaveAll, Message::Unchoke]).await;
    read_all(&mut driver).await;
    let part = owner.store.geometry().part(0).unwrap();
    driver.obey(Command::Fetch(part)).unwrap();
    let blocks = (0..4).flat_map(|n| seed.block(RawBlock { part: 0, begin: n * BLOCK, len: BLOCK }));
    let blocks: Vec<_> = blocks.collect();
    let (now, later) = blocks.split_at(blocks.len() - 1000);
    seed.stream.write_all(now).await.unwrap();
    let mut received = 0;
    while received < 4 * BLOCK - 1000 {
        read_all(&mut driver).await;
        driver.report(None).await;
        while let Some(batch) = owner.events.try_recv().ok().map(|(_, batch)| batch) {
            let bytes = |event: &Event| if let Event::Received { bytes, .. } = event { *bytes } else { 0 };
            received += batch.iter().map(bytes).sum::<u32>();
        }
    }
    // The release is obeyed first, then the rest is read, and only then is the part put away.
    seed.stream.write_all(later).await.unwrap();
    driver.talk.stream.readable().await.unwrap();
    driver.obey(Command::Release(part)).unwrap();
    read_all(&mut driver).await;
    driver.report(None).await;
    owner.until_event(&Event::Released { part, refused: false }).await;
    assert_eq!(owner.store.take_parked(part).map(|parked| owner.store.park(parked)), Some(()));

    let (ours, _theirs) = two_sockets().await;
    let mut owner = Owner::start(ours, owner.store, Show::Nothing, false, Limiter::default());
    owner.fetch(0).await;
    owner.until_event(&Event::Right(part)).await;
}

#[tokio::test]
async fn garbage_ends_the_conversation() {
    let (mut seed, mut owner, _folder) = ByHand::seed().await;
    seed.stream.write_all(&[0xff; 100]).await.unwrap();
    assert!(matches!(owner.closed().await, Closed::Fault(_)));
}

#[tokio::test]
async fn an_owner_that_goes_away_ends_the_conversation() {
    let (mut seed, owner, _folder) = ByHand::seed().await;
    drop(owner);
    let mut rest = Vec::new();
    seed.stream.read_to_end(&mut rest).await.unwrap();
}

/// Somebody asks for 4 MiB, and reads nothing of it until we noticed.
#[tokio::test]
async fn who_does_not_read_is_clogged_and_gets_everything_in_the_end() {
    let bytes = composition(4 << 20);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("composition"), &bytes).unwrap();
    let (store, _disk) = opened(contents(&bytes, 1 << 20), folder.path()).await;
    let (ours, stream) = two_sockets().await;
    let mut owner = Owner::start(ours, store, Show::Everything, false, Limiter::default());
    let mut leech = ByHand { stream, bytes, came: Vec::new() };
    let blocks: Vec<_> = (0..256).map(|i| RawBlock { part: i / 64, begin: i % 64 * BLOCK, len: BLOCK }).collect();
    let requests: Vec<_> = blocks.iter().map(|block| Message::Request(*block)).collect();
    leech.say(&requests).await;
    owner.until_event(&Event::Asks).await;
    owner.tell(Command::Serve { bytes: 8 << 20 }).await;
    owner.until_event(&Event::Clogged(true)).await;

    for block in blocks {
        while leech.hear().await != Frame::Block(block) {}
        while leech.came.len() < BLOCK as usize {
            assert!(leech.stream.read_buf(&mut leech.came).await.unwrap() > 0);
        }
        let start = ((block.part << 20) + block.begin) as usize;
        assert!(leech.came[..BLOCK as usize] == leech.bytes[start..][..BLOCK as usize]);
        leech.came.drain(..BLOCK as usize);
    }
    // In either order: what is sent at last may make room, or room be made before.
    let last = owner.store.geometry().part(3).unwrap();
    let (mut flows, mut sent) = (false, false);
    let both = |event: &Event| {
        flows |= *event == Event::Clogged(false);
        sent |= *event == Event::Sent(last);
        (flows && sent).then_some(())
    };
    owner.until(both).await;
}

/// A block as it goes over the wire, in bytes.
const ON_THE_WIRE: usize = BLOCK as usize + 13;

/// The connection ends wherever it likes: whole blocks of what came are kept, and the rest comes from the next one.
async fn goes_on_after(cut: usize, reset: bool) {
    let (mut seed, mut owner, _folder) = ByHand::seed().await;
    let part = owner.store.geometry().part(2).unwrap();
    owner.fetch(2).await;
    let mut out = Vec::new();
    for _ in 0..4 {
        let block = seed.request().await;
        out.extend(seed.block(block));
    }
    seed.stream.write_all(&out[..cut]).await.unwrap();
    if reset {
        socket2::SockRef::from(&seed.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    drop(seed);
    let closed = owner.closed().await;
    match &closed {
        Closed::ByThem => assert!(!reset),
        Closed::Broken(_) => assert!(reset, "{closed:?}"),
        Closed::ByUs(_) | Closed::Fault(_) => panic!("{closed:?}"),
    }
    let (seed, mut owner) = ByHand::meets(owner.store).await;
    let serving = tokio::spawn(seed.serve());
    owner.fetch(2).await;
    owner.until_event(&Event::Right(part)).await;
    owner.tell(Command::Close("that was all")).await;
    let asked: Vec<_> = serving.await.unwrap().into_iter().map(|block| (block.begin / BLOCK) as usize).collect();
    let kept = cut / ON_THE_WIRE;
    match reset {
        false => assert_eq!(asked, (kept..4).collect::<Vec<_>>(), "cut at {cut}"),
        // The kernel throws away what it had not handed over yet.
        true => assert!(asked.ends_with(&(kept..4).collect::<Vec<_>>()), "cut at {cut}: {asked:?}"),
    }
}

#[tokio::test]
async fn a_connection_may_end_anywhere() {
    // Never after the last byte: then the part is whole, and there is nothing to go on with.
    for cut in (0..4 * ON_THE_WIRE).step_by(2_999).chain([1, 4, 12, 13, ON_THE_WIRE - 1, ON_THE_WIRE]) {
        for reset in [false, true] {
            goes_on_after(cut, reset).await;
        }
    }
}

/// Whoever reads nothing holds up neither the owner nor the end.
#[tokio::test]
async fn a_clogged_conversation_ends_at_once_when_told() {
    let bytes = composition(8 << 20);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("composition"), &bytes).unwrap();
    let (store, _disk) = opened(contents(&bytes, 1 << 20), folder.path()).await;
    let (ours, stream) = two_sockets().await;
    socket2::SockRef::from(&ours).set_send_buffer_size(16 << 10).unwrap();
    let mut owner = Owner::start(ours, store, Show::Everything, false, Limiter::default());
    let mut leech = ByHand { stream, bytes, came: Vec::new() };
    let requests: Vec<_> =
        (0..512).map(|i| Message::Request(RawBlock { part: i / 64, begin: i % 64 * BLOCK, len: BLOCK })).collect();
    leech.say(&requests).await;
    owner.until_event(&Event::Asks).await;
    owner.tell(Command::Serve { bytes: 8 << 20 }).await;
    owner.until_event(&Event::Clogged(true)).await;
    owner.tell(Command::Close("that was all")).await;
    assert_eq!(owner.closed().await, Closed::ByUs("that was all"));
}
