//! What HTTPS servers are believed to be.
//!
//! No certificate proves a composition's bytes, their SHA-1 does: TLS only keeps a mirror's traffic from others.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

/// For a client that asks over plain HTTP alone: believes nobody, reads nothing.
pub fn unused() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    match builder {
        Ok(builder) => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        Err(error) => unreachable!("the provider knows the versions: {error}"),
    }
}

/// Believes whom this system believes. Where it has no certificates at all, nobody: then HTTPS fails, and HTTP works.
pub fn of_this_system() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.and_then(|builder| Ok(builder.with_platform_verifier()?.with_no_client_auth()));
    config.unwrap_or_else(|error| {
        log::warn!("no https:// mirror can be used: the certificates of this system cannot be read: {error}");
        unused()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_made_with_either() {
        for config in [unused(), of_this_system()] {
            assert!(reqwest::Client::builder().tls_backend_preconfigured(config).build().is_ok());
        }
    }
}
