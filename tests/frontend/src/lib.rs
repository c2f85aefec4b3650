//! Embedded vhost-user front-end.
