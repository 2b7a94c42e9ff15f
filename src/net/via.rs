//! Through what of this machine connections go: one of its addresses, one of its network interfaces, or whatever the
//! system picks.

use std::{io, net::IpAddr};

use socket2::Socket;

/// Nothing given: the system picks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// From and at this address alone.
    pub address: Option<IpAddr>,
    /// Through this network interface alone, such as `eth0`.
    pub interface: Option<String>,
}

impl Via {
    /// Any interface, this address.
    pub fn address(address: Option<IpAddr>) -> Self {
        Self { address, interface: None }
    }

    /// Keeps a socket to the interface; to be called before it is bound or connected.
    ///
    /// # Errors
    /// There is no such interface, or the system cannot do it. The message names the interface.
    pub fn restrict(&self, socket: &Socket) -> io::Result<()> {
        match &self.interface {
            Some(name) => keep_to(socket, name),
            None => Ok(()),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn keep_to(socket: &Socket, name: &str) -> io::Result<()> {
    /// IFNAMSIZ, with the zero at the end. The system would cut a longer name, and take an empty one for any interface.
    const LONGEST: usize = 16;
    let kept = match name.len() {
        1..LONGEST => socket.bind_device(Some(name.as_bytes())),
        _ => Err(rustix::io::Errno::NODEV.into()),
    };
    kept.map_err(|error| match error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
        true => io::Error::new(
            io::ErrorKind::NotFound,
            format!("this machine has no network interface {name:?}; \"ip link\" lists those that it has"),
        ),
        false => io::Error::other(format!("cannot keep to the network interface {name:?}: {error}")),
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn keep_to(_: &Socket, name: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("cannot keep to the network interface {name:?} on this system; give --listen with its address instead"),
    ))
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    fn kept_to(name: &str) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        Via { address: None, interface: Some(name.to_owned()) }.restrict(&socket)
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        for name in ["", "no-such-one", "a-name-that-no-interface-can-have"] {
            let error = kept_to(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }
}
