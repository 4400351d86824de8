//! The network and target simulator of iiblockdaemon.
