//! Where a portal is: host and TCP port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The TCP port that IANA assigned to iSCSI (RFC 7143 13.8).
pub const PORT_DEFAULT: u16 = 3260;

/// Longest host name (RFC 1123 2.1).
const HOST_NAME_MAX: usize = 253;

/// Longest scope identifier: an interface name (`IFNAMSIZ` without its NUL).
const SCOPE_MAX: usize = 15;

/// The address of a portal: IPv4, IPv6 (with a scope if need be) or a host name, and a port.
///
/// Parses `10.0.0.1`, `10.0.0.1:3260`, `[fe80::1%eth3]:3260`, `fe80::1%eth3` and
/// `host.name:3260`; the port defaults to 3260. Displays with the port, IPv6 in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortalAddr {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    V4(Ipv4Addr),
    V6(Ipv6Addr, Option<Box<str>>),
    Name(Box<str>),
}

/// Why a text is no [`PortalAddr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortalAddrError {
    /// No host.
    #[error("the portal's host is missing")]
    NoHost,
    /// A port that is no number between 1 and 65535.
    #[error("the portal's port is not a number between 1 and 65535")]
    BadPort,
    /// `[` without `]`, or text after it that is no port.
    #[error("an IPv6 portal with a port is written [address]:port, e.g. [fe80::1%eth3]:3260")]
    BadBrackets,
    /// Something with colons or brackets that is no IPv6 address.
    #[error("the portal is not a valid IPv6 address")]
    BadIpv6,
    /// A scope that no interface can have, or a scope on something else than an IPv6 address.
    #[error("the scope after % is an interface name or number, on an IPv6 address only")]
    BadScope,
    /// Neither an IPv4 address nor a host name.
    #[error("the portal is neither an IPv4 address nor a host name")]
    BadHostName,
    /// A target portal group tag that is no number between 0 and 65535.
    #[error("the portal group tag after the comma is not a number between 0 and 65535")]
    BadGroupTag,
    /// `0.0.0.0` or `::`: listened on, not connected to.
    #[error("the portal is a wildcard address, which cannot be connected to")]
    Wildcard,
}

impl PortalAddr {
    /// From an IP address and a port.
    #[must_use]
    pub fn from_ip(ip: IpAddr, port: u16) -> Self {
        let host = match ip {
            IpAddr::V4(ip) => Host::V4(ip),
            IpAddr::V6(ip) => Host::V6(ip, None),
        };
        Self { host, port }
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as text for a resolver: no brackets, no scope.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::V4(ip) => ip.to_string(),
            Host::V6(ip, _) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        }
    }

    /// The IP address; `None` if it is a host name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.host {
            Host::V4(ip) => Some(IpAddr::V4(*ip)),
            Host::V6(ip, _) => Some(IpAddr::V6(*ip)),
            Host::Name(_) => None,
        }
    }

    /// The scope of an IPv6 address: an interface name or number.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match &self.host {
            Host::V6(_, scope) => scope.as_deref(),
            Host::V4(_) | Host::Name(_) => None,
        }
    }

    /// Whether this is an IPv6 link-local address without the scope that connecting to it needs.
    #[must_use]
    pub fn lacks_scope(&self) -> bool {
        matches!(&self.host, Host::V6(ip, None) if ip.is_unicast_link_local())
    }

    /// The same portal on this interface, if it is an IPv6 link-local address without a scope.
    #[must_use]
    pub fn with_scope(self, interface: &str) -> Self {
        match self.host {
            Host::V6(ip, None) if ip.is_unicast_link_local() && is_scope(interface) => Self {
                host: Host::V6(ip, Some(interface.into())),
                port: self.port,
            },
            host @ (Host::V4(_) | Host::V6(..) | Host::Name(_)) => Self {
                host,
                port: self.port,
            },
        }
    }
}

impl FromStr for PortalAddr {
    type Err = PortalAddrError;

    fn from_str(text: &str) -> Result<Self, PortalAddrError> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, after) = rest.split_once(']').ok_or(PortalAddrError::BadBrackets)?;
            let port = match after.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if after.is_empty() => PORT_DEFAULT,
                None => return Err(PortalAddrError::BadBrackets),
            };
            let host = parse_ipv6(inner)?;
            return Ok(Self { host, port });
        }
        match text.split_once(':') {
            None => Ok(Self {
                host: parse_host(text)?,
                port: PORT_DEFAULT,
            }),
            Some((_, rest)) if rest.contains(':') => Ok(Self {
                host: parse_ipv6(text)?,
                port: PORT_DEFAULT,
            }),
            Some((host, port)) => Ok(Self {
                host: parse_host(host)?,
                port: parse_port(port)?,
            }),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, PortalAddrError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if port > 0 && digits => Ok(port),
        _ => Err(PortalAddrError::BadPort),
    }
}

fn parse_ipv6(text: &str) -> Result<Host, PortalAddrError> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) if is_scope(scope) => (address, Some(scope.into())),
        Some(_) => return Err(PortalAddrError::BadScope),
        None => (text, None),
    };
    let ip: Ipv6Addr = address.parse().map_err(|_| PortalAddrError::BadIpv6)?;
    if ip.is_unspecified() {
        return Err(PortalAddrError::Wildcard);
    }
    Ok(Host::V6(ip, scope))
}

fn is_scope(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'%' | b'[' | b']' | b',');
    (1..=SCOPE_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn parse_host(text: &str) -> Result<Host, PortalAddrError> {
    if text.is_empty() {
        return Err(PortalAddrError::NoHost);
    }
    if text.contains('%') {
        return Err(PortalAddrError::BadScope);
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return if ip.is_unspecified() {
            Err(PortalAddrError::Wildcard)
        } else {
            Ok(Host::V4(ip))
        };
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // A name whose last label is a number is a mistyped IPv4 address (RFC 3696 2).
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > HOST_NAME_MAX || last_is_number || !name.split('.').all(label) {
        return Err(PortalAddrError::BadHostName);
    }
    Ok(Host::Name(name.to_ascii_lowercase().into()))
}

impl fmt::Display for PortalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::V4(ip) => write!(f, "{ip}:{port}"),
            Host::V6(ip, None) => write!(f, "[{ip}]:{port}"),
            Host::V6(ip, Some(scope)) => write!(f, "[{ip}%{scope}]:{port}"),
            Host::Name(name) => write!(f, "{name}:{port}"),
        }
    }
}

impl fmt::Debug for PortalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_portal_is_read_and_shown_with_its_port() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1:3260"),
            ("10.0.0.1:860", "10.0.0.1:860"),
            (" 10.0.0.1 ", "10.0.0.1:3260"),
            ("[fe80::1%eth3]:3261", "[fe80::1%eth3]:3261"),
            ("[fe80::1%eth3]", "[fe80::1%eth3]:3260"),
            ("fe80::1%eth3.100", "[fe80::1%eth3.100]:3260"),
            ("fe80::1%3", "[fe80::1%3]:3260"),
            ("2001:db8::5", "[2001:db8::5]:3260"),
            ("[2001:DB8:0:0::5]:3260", "[2001:db8::5]:3260"),
            ("::1", "[::1]:3260"),
            ("localhost", "localhost:3260"),
            ("Array-1.example.com.:3270", "array-1.example.com:3270"),
            ("3com.example", "3com.example:3260"),
        ] {
            let portal: PortalAddr = text.parse().unwrap();
            assert_eq!(portal.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<PortalAddr>().unwrap(), portal);
        }
    }

    #[test]
    fn each_mistake_in_a_portal_has_its_error() {
        for (text, error) in [
            ("", PortalAddrError::NoHost),
            (":3260", PortalAddrError::NoHost),
            ("10.0.0.1:", PortalAddrError::BadPort),
            ("10.0.0.1:0", PortalAddrError::BadPort),
            ("10.0.0.1:65536", PortalAddrError::BadPort),
            ("10.0.0.1:+80", PortalAddrError::BadPort),
            ("10.0.0.300", PortalAddrError::BadHostName),
            ("10.0.0", PortalAddrError::BadHostName),
            ("host_-.x y", PortalAddrError::BadHostName),
            ("a..b", PortalAddrError::BadHostName),
            ("-a.example", PortalAddrError::BadHostName),
            ("[fe80::1", PortalAddrError::BadBrackets),
            ("[fe80::1]3260", PortalAddrError::BadBrackets),
            ("[10.0.0.1]", PortalAddrError::BadIpv6),
            ("fe80::1::2", PortalAddrError::BadIpv6),
            ("10.0.0.1:80:90", PortalAddrError::BadIpv6),
            ("fe80::1%", PortalAddrError::BadScope),
            ("[fe80::1%an-interface-too-long]", PortalAddrError::BadScope),
            ("10.0.0.1%eth0", PortalAddrError::BadScope),
            ("0.0.0.0", PortalAddrError::Wildcard),
            ("[::]:3260", PortalAddrError::Wildcard),
        ] {
            assert_eq!(text.parse::<PortalAddr>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_link_local_address_takes_the_scope_of_the_interface_it_is_reached_over() {
        let bare: PortalAddr = "fe80::5".parse().unwrap();
        assert!(bare.lacks_scope());
        let scoped = bare.with_scope("eth3");
        assert_eq!(scoped.to_string(), "[fe80::5%eth3]:3260");
        assert_eq!(scoped.scope(), Some("eth3"));
        assert_eq!(scoped.host(), "fe80::5");
        assert!(!scoped.lacks_scope());
        assert_eq!(scoped.clone().with_scope("eth4"), scoped);
        let global: PortalAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(global.clone().with_scope("eth3"), global);
    }
}
