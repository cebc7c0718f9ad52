//! Masking of credentials.
