//! Bytes on their way in.

use proptest::prelude::*;

use super::{
    pool::{LIMIT, PARTS_LIMIT},
    *,
};

const OTHER: PeerKey = PeerKey(2);

#[tokio::test]
async fn a_part_is_in_one_pair_of_hands() {
    let lab = Lab::new();
    let mut opened = lab.open();
    let store = opened.store.clone();
    let assembly = store.begin(lab.part(0)).unwrap();
    assert!(store.begin(lab.part(0)).is_none());
    drop(assembly);
    let mut assembly = store.begin(lab.part(0)).unwrap();
    lab.fill(&store, &mut assembly, PEER).await;
    let Verdict::Right(verified) = store.verify(assembly).await else { panic!() };
    assert!(store.begin(lab.part(0)).is_none());
    store.commit(verified).await;
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Written(_))));
    assert!(store.begin(lab.part(0)).is_none());
}

#[tokio::test]
async fn what_was_parked_is_gone_on_with() {
    let lab = Lab::new();
    let opened = lab.open();
    let store = &opened.store;
    let part = lab.part(0);
    let mut assembly = store.begin(part).unwrap();
    let middle = lab.contents.geometry.block_run(part, 1..2);
    lab.deliver(store, &mut assembly, middle, 0).await;
    assembly.block_done(middle, PEER);
    assert_eq!(assembly.missing(), [0..1, 2..3]);
    store.park(assembly);
    assert!(store.take_parked(lab.part(1)).is_none());
    let mut assembly = store.begin(part).unwrap();
    assert_eq!(assembly.missing(), [0..1, 2..3]);
    lab.fill(store, &mut assembly, OTHER).await;
    assert!(matches!(store.verify(assembly).await, Verdict::Right(_)));
}

#[tokio::test]
async fn whole_blocks_of_a_broken_one_count() {
    let lab = Lab::of(8 * BLOCK as usize - 10, 8 * BLOCK);
    let opened = lab.open();
    let part = lab.part(0);
    let mut assembly = opened.store.begin(part).unwrap();
    assembly.block_done(BlockRange { part, begin: BLOCK, len: 3 * BLOCK - 1 }, PEER);
    assert_eq!(assembly.missing(), [0..1, 3..8]);
    assembly.block_done(BlockRange { part, begin: 7 * BLOCK, len: BLOCK - 10 }, PEER);
    assert_eq!(assembly.missing(), [0..1, 3..7]);
    assembly.block_done(BlockRange { part, begin: 5, len: 10 }, OTHER);
    assert_eq!(assembly.missing(), [0..1, 3..7]);
}

#[tokio::test]
async fn a_wrong_byte_is_put_down_to_its_sender() {
    for spooled in [false, true] {
        let lab = Lab::new();
        let opened = lab.open();
        let store = &opened.store;
        let _memory = spooled.then(|| store.take_all_memory());
        let part = lab.part(2);
        let last = lab.contents.geometry.block_run(part, 2..3);

        let mut assembly = store.begin(part).unwrap();
        lab.deliver(store, &mut assembly, last, 1).await;
        assembly.block_done(last, OTHER);
        lab.fill(store, &mut assembly, OTHER).await;
        assert!(matches!(store.verify(assembly).await, Verdict::Wrong { alone: Some(OTHER) }));

        let mut assembly = store.begin(part).unwrap();
        lab.deliver(store, &mut assembly, last, 1).await;
        assembly.block_done(last, OTHER);
        lab.fill(store, &mut assembly, PEER).await;
        assert!(matches!(store.verify(assembly).await, Verdict::Wrong { alone: None }));

        let mut assembly = store.begin(part).unwrap();
        assert_eq!(assembly.missing(), one(0..3));
        lab.fill(store, &mut assembly, PEER).await;
        assert!(matches!(store.verify(assembly).await, Verdict::Right(_)));
    }
}

/// The bytes that are hashed are the bytes that are kept, also where a second sender writes over the first's.
#[tokio::test]
async fn right_bytes_that_were_overwritten_do_not_count() {
    for spooled in [false, true] {
        let lab = Lab::new();
        let opened = lab.open();
        let store = &opened.store;
        let _memory = spooled.then(|| store.take_all_memory());
        let part = lab.part(0);
        let mut assembly = store.begin(part).unwrap();
        let most = BlockRange { part, begin: 0, len: 2 * BLOCK + 10 };
        lab.deliver(store, &mut assembly, most, 0).await;
        let first = lab.contents.geometry.block_run(part, 0..1);
        lab.deliver(store, &mut assembly, first, 1).await;
        assembly.block_done(first, OTHER);
        lab.fill(store, &mut assembly, PEER).await;
        assert!(matches!(store.verify(assembly).await, Verdict::Wrong { alone: None }));
    }
}

#[tokio::test]
async fn memory_is_bounded_however_much_is_begun() {
    let part_size = 4 << 20;
    let lab = Lab::of(30 * part_size as usize, part_size);
    let mut opened = lab.open();
    let store = opened.store.clone();
    let mut begun: Vec<_> = (0..30).map(|n| store.begin(lab.part(n)).unwrap()).collect();
    assert!(begun.iter().filter(|a| a.is_in_memory()).count() == PARTS_LIMIT / part_size as usize);
    for assembly in &mut begun {
        lab.fill(&store, assembly, PEER).await;
        assert!(store.memory() <= LIMIT);
    }
    for assembly in begun {
        let Verdict::Right(verified) = store.verify(assembly).await else { panic!() };
        store.commit(verified).await;
        assert!(store.memory() <= LIMIT);
    }
    while !matches!(opened.events.recv().await, Some(DiskEvent::Whole)) {}
    assert!(store.memory() <= LIMIT);
}

#[tokio::test]
async fn parts_above_8_mib_go_to_the_disk_as_they_come() {
    let lab = Lab::of(20 << 20, 9 << 20);
    let mut opened = lab.open();
    let mut assembly = opened.store.begin(lab.part(0)).unwrap();
    assert!(!assembly.is_in_memory());
    lab.fill(&opened.store, &mut assembly, PEER).await;
    assert!(assembly.unhashed().is_empty(), "what comes in order is hashed on the way");
    drop(assembly);
    lab.fetch_all(&mut opened).await;
    finish(&opened.store).await.unwrap();
    assert!(fs::read(lab.path("")).unwrap() == lab.bytes);
}

#[tokio::test]
async fn parked_parts_are_bounded() {
    let lab = Lab::of(100 * BLOCK as usize, BLOCK);
    let opened = lab.open();
    for number in 0..100 {
        let mut assembly = opened.store.begin(lab.part(number)).unwrap();
        lab.fill(&opened.store, &mut assembly, PEER).await;
        opened.store.park(assembly);
    }
    assert!(opened.store.take_parked(lab.part(0)).is_none());
    assert!(opened.store.take_parked(lab.part(99)).is_some());
    let mut first = opened.store.begin(lab.part(0)).unwrap();
    assert_eq!(first.missing(), one(0..1));
    lab.fill(&opened.store, &mut first, PEER).await;
}

/// What happens to a part: runs of blocks by first block and length, each in reads of some length; some break off in
/// the middle, and what was there is parked and gone on with.
#[derive(Clone, Debug)]
struct Delivery {
    first: u32,
    blocks: u32,
    read: u32,
    broken_at: Option<u32>,
}

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let one = (0u32..20, 1u32..8, 1u32..200_000, prop::option::of(0u32..100_000))
        .prop_map(|(first, blocks, read, broken_at)| Delivery { first, blocks, read, broken_at });
    prop::collection::vec(one, 0..30)
}

async fn any_order(deliveries: Vec<Delivery>, spooled: bool) {
    let lab = Lab::of(20 * BLOCK as usize - 77, 20 * BLOCK);
    let mut opened = lab.open();
    let store = opened.store.clone();
    let _memory = spooled.then(|| store.take_all_memory());
    let part = lab.part(0);
    let mut assembly = store.begin(part).unwrap();
    for delivery in deliveries {
        let missing = assembly.missing();
        let Some(run) = missing.iter().find(|run| run.contains(&delivery.first)) else { continue };
        let blocks = delivery.first..run.end.min(delivery.first + delivery.blocks);
        let mut range = lab.contents.geometry.block_run(part, blocks);
        if let Some(at) = delivery.broken_at {
            range.len = range.len.min(at.max(1));
        }
        let mut at = range.begin;
        while at < range.end() {
            let len = delivery.read.min(range.end() - at);
            lab.deliver(&store, &mut assembly, BlockRange { part, begin: at, len }, 0).await;
            at += len;
        }
        assembly.block_done(range, PEER);
        if delivery.broken_at.is_some() {
            store.park(assembly);
            assembly = store.begin(part).unwrap();
        }
    }
    lab.fill(&store, &mut assembly, PEER).await;
    let Verdict::Right(verified) = store.verify(assembly).await else { panic!("wrong") };
    store.commit(verified).await;
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Written(_))));
    assert!(matches!(opened.events.recv().await, Some(DiskEvent::Whole)));
    assert!(fs::read(lab.path(".part")).unwrap() == lab.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_order_and_any_sizes_give_the_same_part(deliveries in deliveries(), spooled: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(any_order(deliveries, spooled));
    }
}
