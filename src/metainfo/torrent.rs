//! `.torrent` files.
