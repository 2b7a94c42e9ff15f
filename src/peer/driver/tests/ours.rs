//! Conversations between two members of ours.

use super::*;

/// A whole composition from one member to another.
async fn transfer(size: usize, part_size: usize, extended: bool, limiter: Limiter) {
    let bytes = composition(size);
    let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(there.path().join("composition"), &bytes).unwrap();
    let (full, _disk) = opened(contents(&bytes, part_size), there.path()).await;
    let (empty, mut disk) = opened(contents(&bytes, part_size), here.path()).await;
    let (a, b) = two_sockets().await;
    let seed = Owner::start(a, full, Show::Everything, extended, limiter.clone());
    let mut member = Owner::start(b, empty, Show::Nothing, extended, limiter);
    let serving = tokio::spawn(seed.serve());
    member.fetch_all().await;
    loop {
        match disk.recv().await.unwrap() {
            DiskEvent::Whole => break,
            event => assert!(matches!(event, DiskEvent::Written(_)), "{event:?}"),
        }
    }
    let store = member.store.clone();
    let path = tokio::task::spawn_blocking(move || store.finish()).await.unwrap().unwrap();
    assert!(std::fs::read(path).unwrap() == bytes);
    member.tell(Command::Close("that was all")).await;
    assert_eq!(member.closed().await, Closed::ByUs("that was all"));
    assert_eq!(serving.await.unwrap(), Closed::ByThem);
}

#[tokio::test]
async fn our_own_members_use_long_blocks() {
    transfer(6_500_001, 1 << 20, true, Limiter::default()).await;
}

#[tokio::test]
async fn with_others_blocks_are_short() {
    transfer(3_000_001, 1 << 18, false, Limiter::default()).await;
}

#[tokio::test]
async fn small_parts_and_odd_lengths_come_whole() {
    transfer(300_007, 10_007, true, Limiter::default()).await;
}

#[tokio::test]
async fn large_parts_go_to_the_disk_as_they_come() {
    transfer(21_000_001, 9 << 20, true, Limiter::default()).await;
}

#[tokio::test]
async fn a_limit_lets_everything_through_in_the_end() {
    let rate = std::num::NonZeroU64::new(20 << 20);
    transfer(700_001, 1 << 18, true, Limiter::new(rate, Time::ZERO)).await;
    transfer(700_001, 1 << 18, false, Limiter::new(rate, Time::ZERO)).await;
}
