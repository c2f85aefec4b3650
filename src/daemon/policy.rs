//! From options to what guests are offered.

use std::time::Duration;

use crate::cli::{CacheConfig, CacheMode, Config};
use crate::fs::{CachePolicy, DataCache};
use crate::fuse::Features;
use crate::fuse::abi::init_flag as flag;
use crate::server::Offer;

/// What a cache mode means; an explicit timeout goes before the mode's own.
pub fn cache(config: &CacheConfig) -> CachePolicy {
    const DAY: Duration = Duration::from_secs(86_400);
    let (timeout, data, keep_listings) = match config.mode {
        CacheMode::Never => (Duration::ZERO, DataCache::Bypass, false),
        CacheMode::Auto => (Duration::from_secs(1), DataCache::Revalidate, false),
        CacheMode::Metadata => (DAY, DataCache::Bypass, true),
        CacheMode::Always => (DAY, DataCache::Keep, true),
    };
    CachePolicy {
        timeout: config.timeout.unwrap_or(timeout),
        data,
        keep_listings,
    }
}

/// What the guest's INIT is offered.
pub fn offer(config: &Config) -> Offer {
    let (cache, features) = (&config.cache, &config.features);
    let plus = flag::DO_READDIRPLUS | flag::READDIRPLUS_AUTO;
    Offer {
        features: Features::ALWAYS
            .with(flag::AUTO_INVAL_DATA, cache.mode == CacheMode::Auto)
            .with(flag::CACHE_SYMLINKS, cache.mode == CacheMode::Always)
            .with(plus, cache.readdirplus)
            .with(flag::SUBMOUNTS, features.announce_submounts)
            .with(flag::DIRECT_IO_ALLOW_MMAP, cache.allow_mmap),
        readonly: features.readonly,
    }
}
