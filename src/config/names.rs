//! Names and addresses: volumes, iSCSI nodes, portals, interfaces, identities.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::Problem;

/// Longest path of a unix socket in bytes (`sun_path` without its NUL).
pub(super) const SOCKET_PATH_MAX: usize = 107;

/// The TCP port that IANA assigned to iSCSI (RFC 7143 13.8).
const ISCSI_PORT: u16 = 3260;

/// Longest iSCSI name in bytes (RFC 7143 4.2.7.2).
const ISCSI_NAME_MAX: usize = 223;

/// Longest interface name (`IFNAMSIZ` without its NUL).
const NIC_MAX: usize = 15;

/// Longest host name (RFC 1123 2.1).
const HOST_NAME_MAX: usize = 253;

/// A target's address: IPv4, IPv6 (with a scope if need be) or a host name, and a port.
///
/// Displays with the port, IPv6 in brackets: `[fe80::5%eth3]:3260`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Portal {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    V4(Ipv4Addr),
    V6(Ipv6Addr, Option<String>),
    Name(String),
}

impl Portal {
    /// The host as text: no brackets, no scope.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::V4(ip) => ip.to_string(),
            Host::V6(ip, _) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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

    /// The scope of an IPv6 address: an interface's name or number.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match &self.host {
            Host::V6(_, scope) => scope.as_deref(),
            Host::V4(_) | Host::Name(_) => None,
        }
    }

    pub(super) fn is_link_local(&self) -> bool {
        matches!(&self.host, Host::V6(ip, _) if ip.is_unicast_link_local())
    }
}

impl fmt::Display for Portal {
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

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn portal(text: &str) -> Result<Portal, Problem> {
    let bad = |why| Problem::BadPortal {
        portal: text.to_owned(),
        why,
    };
    // An IPv6 address needs no brackets where it has no port.
    let bare_ipv6 = !text.starts_with('[') && text.matches(':').count() > 1;
    let (host, port) = if bare_ipv6 {
        (text.to_owned(), None)
    } else {
        host_and_port(text).map_err(bad)?
    };
    let port = match port {
        Some(0) => return Err(bad("the port is 0")),
        port => port.unwrap_or(ISCSI_PORT),
    };
    let host = if host.contains(':') {
        ipv6(&host)
    } else {
        ipv4_or_name(&host)
    };
    Ok(Portal {
        host: host.map_err(bad)?,
        port,
    })
}

/// `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. The host comes without brackets and unchecked.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("']' is missing")?;
            if !host.contains(':') {
                return Err("brackets are for IPv6 addresses");
            }
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err("after ']' comes ':' and a port"),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            Some(_) => return Err("an IPv6 address with a port stands in brackets"),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let port = port.map(|port| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse()
            .ok()
            .filter(|_| digits)
            .ok_or("the port is no number from 1 to 65535")
    });
    Ok((host.to_owned(), port.transpose()?))
}

fn ipv6(text: &str) -> Result<Host, &'static str> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let ip: Ipv6Addr = address
        .parse()
        .map_err(|_| "the IPv6 address is not valid")?;
    if ip.is_unspecified() {
        return Err("nobody listens on ::");
    }
    match scope {
        Some(scope) if !is_interface(scope) => Err("after '%' comes an interface"),
        scope => Ok(Host::V6(ip, scope.map(str::to_owned))),
    }
}

fn ipv4_or_name(text: &str) -> Result<Host, &'static str> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return if ip.is_unspecified() {
            Err("nobody listens on 0.0.0.0")
        } else {
            Ok(Host::V4(ip))
        };
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(allowed)
    };
    if name.len() > HOST_NAME_MAX || !name.split('.').all(label) {
        return Err("the host is neither an address nor a host name");
    }
    // A name whose last label is a number is a mistyped IPv4 address (RFC 3696 2).
    let last = name.rsplit('.').next();
    if last.is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("the IPv4 address is not valid");
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

fn is_interface(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"/:%[],".contains(&byte);
    (1..=NIC_MAX).contains(&text.len()) && text.bytes().all(allowed) && !matches!(text, "." | "..")
}

/// An interface's name.
pub(super) fn nic(text: &str) -> Result<String, Problem> {
    if is_interface(text) {
        Ok(text.to_owned())
    } else {
        Err(Problem::BadNic(text.to_owned()))
    }
}

/// A CHAP user name.
pub(super) fn chap_username(text: &str) -> Result<String, Problem> {
    if (1..=255).contains(&text.len()) && !text.contains(|c: char| c.is_control()) {
        Ok(text.to_owned())
    } else {
        Err(Problem::BadUsername)
    }
}

/// The name of a group of the system; whether it exists is seen when the socket is made.
pub(super) fn group(text: &str) -> Result<String, Problem> {
    let separators = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/');
    if text.is_empty() || text.contains(separators) {
        Err(Problem::BadGroup(text.to_owned()))
    } else {
        Ok(text.to_owned())
    }
}

/// A volume's name: part of file names, log lines and NBD export names.
pub(super) fn volume_name(text: &str) -> Result<String, Problem> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let first = text.bytes().next();
    let good = (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && first.is_some_and(|byte| byte.is_ascii_alphanumeric());
    if good {
        Ok(text.to_owned())
    } else {
        Err(Problem::BadVolumeName(text.to_owned()))
    }
}

/// An iSCSI node's name (RFC 7143 4.2.7), in the spelling that was given.
pub(super) fn iscsi_name(text: &str) -> Result<String, Problem> {
    match iscsi_name_fault(text) {
        None => Ok(text.to_owned()),
        Some(why) => Err(Problem::BadIscsiName {
            name: text.to_owned(),
            why,
        }),
    }
}

fn iscsi_name_fault(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    if text.len() > ISCSI_NAME_MAX {
        return Some("it is longer than 223 bytes");
    }
    if let Some(rest) = lower.strip_prefix("iqn.") {
        return iqn_fault(rest);
    }
    if let Some(rest) = lower.strip_prefix("eui.") {
        return (!is_hex(rest, &[16])).then_some("after \"eui.\" come 16 hexadecimal digits");
    }
    if let Some(rest) = lower.strip_prefix("naa.") {
        let good = is_hex(rest, &[16, 32]);
        return (!good).then_some("after \"naa.\" come 16 or 32 hexadecimal digits");
    }
    Some("it begins with none of \"iqn.\", \"eui.\", \"naa.\"")
}

fn iqn_fault(rest: &str) -> Option<&'static str> {
    // Underscores are not allowed, and in use.
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
    if !rest.chars().all(allowed) {
        return Some("it has a character other than letters, digits, '-', '.' and ':'");
    }
    let date = |date: &str| {
        let (year, month) = date.split_once('-')?;
        let digits =
            |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        let month_exists = matches!(month.parse(), Ok(1..=12_u8));
        (digits(year, 4) && digits(month, 2) && month_exists).then_some(())
    };
    let authority = match rest.split_once('.') {
        Some((head, authority)) if date(head).is_some() => authority,
        _ => return Some("after \"iqn.\" come year and month, YYYY-MM, and a dot"),
    };
    let missing = authority.is_empty() || authority.starts_with([':', '.']);
    missing.then_some("after year and month comes a reversed domain name")
}

fn is_hex(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A LUN's identity as `iibadm discover` shows it: in lower case, but for the text of `t10.`.
pub(super) fn wwid(text: &str) -> Result<String, Problem> {
    let good = match text.split_once('.') {
        Some((kind, rest)) if kind.eq_ignore_ascii_case("naa") => is_hex(rest, &[16, 32]),
        Some((kind, rest)) if kind.eq_ignore_ascii_case("eui") => is_hex(rest, &[16, 24, 32]),
        Some(("t10", rest)) if !rest.is_empty() => {
            let printable = rest.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if printable && text.len() <= 255 {
                return Ok(text.to_owned());
            }
            false
        }
        _ => false,
    };
    if good {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Problem::BadWwid(text.to_owned()))
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
            ("[fe80::1%eth3]:3261", "[fe80::1%eth3]:3261"),
            ("[fe80::1%eth3]", "[fe80::1%eth3]:3260"),
            ("fe80::1%eth3.100", "[fe80::1%eth3.100]:3260"),
            ("[2001:DB8:0:0::5]:3260", "[2001:db8::5]:3260"),
            ("::1", "[::1]:3260"),
            ("Array-1.example.com.:3270", "array-1.example.com:3270"),
            ("3com.example", "3com.example:3260"),
        ] {
            assert_eq!(portal(text).unwrap().to_string(), shown, "{text}");
            assert_eq!(portal(shown).unwrap(), portal(text).unwrap());
        }
    }

    #[test]
    fn a_wrong_portal_says_why() {
        for (text, reason) in [
            ("", "host is missing"),
            (":3260", "host is missing"),
            ("10.0.0.256", "IPv4 address is not valid"),
            ("0.0.0.0", "nobody listens"),
            ("[::]", "nobody listens"),
            ("10.0.0.1:0", "port is 0"),
            ("10.0.0.1:65536", "port is no number"),
            ("10.0.0.1:+5", "port is no number"),
            ("[fe80::1:3260", "']' is missing"),
            ("[fe80::1]3260", "after ']'"),
            ("[10.0.0.1]:3260", "brackets are for IPv6"),
            ("fe80::1::2", "IPv6 address is not valid"),
            ("fe80::1%", "after '%'"),
            ("a b", "neither an address nor a host name"),
            ("10.0.0.1%eth0", "neither an address nor a host name"),
        ] {
            let error = portal(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn iscsi_names_follow_the_rfc() {
        for good in [
            "iqn.2026-11.com.example:db1",
            "iqn.2003-01.com.example",
            "IQN.2001-04.com.Example:Storage.Disk2",
            "iqn.2003-01.org.linux-iscsi.host_1:x",
            "eui.02004567A425678D",
            "naa.52004567BA64678D",
            "naa.62004567BA64678D0123456789ABCDEF",
        ] {
            assert_eq!(iscsi_name(good), Ok(good.to_owned()));
        }
        let long = format!("iqn.2026-11.com.example:{}", "x".repeat(200));
        for bad in [
            "",
            "db1",
            "iqn.2026-13.com.example",
            "iqn.26-11.com.example",
            "iqn.2026-11",
            "iqn.2026-11.:x",
            "iqn.2026-11.com.example:a b",
            "eui.0200",
            "naa.52004567BA64678",
            &long,
        ] {
            assert!(iscsi_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volume_names_are_safe_in_file_names() {
        for good in ["db", "0", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(volume_name(good), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", "ä", &"x".repeat(64)] {
            assert!(volume_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interface_names_are_what_the_kernel_accepts() {
        for good in ["eth1", "enp0s31f6", "bond0.100", "br-lan"] {
            assert_eq!(nic(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            ".",
            "..",
            "eth/1",
            "eth 1",
            "eth0:1",
            "sixteen-bytes-xx",
        ] {
            assert!(nic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn identities_are_normalised() {
        assert_eq!(
            wwid("NAA.6001405F2D3C4B5A69788796A5B4C3D2").unwrap(),
            "naa.6001405f2d3c4b5a69788796a5b4c3d2"
        );
        assert_eq!(
            wwid("eui.0123456789abcdef").unwrap(),
            "eui.0123456789abcdef"
        );
        assert_eq!(
            wwid("t10.IET     00010001").unwrap(),
            "t10.IET     00010001"
        );
        for bad in [
            "",
            "naa.",
            "naa.xyz",
            "6001405f2d3c4b5a",
            "eui.01",
            "t10.",
            "t10.a\nb",
        ] {
            assert!(wwid(bad).is_err(), "{bad}");
        }
    }
}
