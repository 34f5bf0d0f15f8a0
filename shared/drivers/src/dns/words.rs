//! DNS messages: built and read, nothing else.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rs_contract::{Error, Kind, Result};

/// Reads a host name.
pub fn name(written: &str) -> Result<Name> {
    rs_model::name::host(written)?;
    let mut name = Name::from_ascii(written)
        .map_err(|e| Error::new(Kind::Usage, format!("{written:?} is no DNS name")).because(e))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// Asks for one type of record of a name; no recursion: the server itself must know.
pub fn question(id: u16, name: &Name, what: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.clone(), what));
    message
}

/// Replaces the A records of `name` in one message: all of it happens or nothing (RFC 2136 section 3.4).
///
/// Prerequisites: the addresses are still `before`, and the name is no alias.
pub fn replace(
    id: u16,
    zone: &Name,
    name: &Name,
    before: &[Ipv4Addr],
    after: &[Ipv4Addr],
    ttl_seconds: u32,
) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    // for an update the answer section holds the prerequisites and the authority section the changes
    if before.is_empty() {
        message.add_answer(without_data(name, RecordType::A, DNSClass::NONE));
    }
    for address in before {
        message.add_answer(Record::from_rdata(name.clone(), 0, RData::A(A(*address))));
    }
    message.add_answer(without_data(name, RecordType::CNAME, DNSClass::NONE));
    message.add_authority(without_data(name, RecordType::A, DNSClass::ANY));
    for address in after {
        message.add_authority(Record::from_rdata(name.clone(), ttl_seconds, RData::A(A(*address))));
    }
    message
}

/// An update that cannot change anything: it wants a name in use that nobody has. Whoever answers that the name is not
/// there has accepted the key.
pub fn futile(id: u16, zone: &Name) -> Result<(Message, Name)> {
    let nobody = zone
        .prepend_label(format!("rs-nobody-{id:04x}"))
        .map_err(|e| Error::new(Kind::Usage, format!("{zone} is too long a zone")).because(e))?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    message.add_answer(without_data(&nobody, RecordType::ANY, DNSClass::ANY));
    let nowhere = RData::A(A(Ipv4Addr::LOCALHOST));
    message.add_authority(Record::from_rdata(nobody.clone(), 60, nowhere));
    Ok((message, nobody))
}

/// Whether this is the answer to [`futile`] that accepts the key.
pub fn is_futile(answer: &Message) -> bool {
    answer.metadata.response_code == ResponseCode::NXDomain
}

/// Whether an answer accepts our key, and must therefore be signed by it.
pub fn accepts(answer: &Message) -> bool {
    answer.metadata.response_code == ResponseCode::NoError || is_futile(answer)
}

fn without_data(name: &Name, what: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, what);
    record.dns_class = class;
    record
}

/// What an authoritative answer says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its own A records, sorted.
    pub addresses: Vec<Ipv4Addr>,
    /// Shortest time to live of these, seconds.
    pub ttl_seconds: Option<u32>,
    /// The name that it is an alias of.
    pub alias: Option<String>,
    /// It has records of the type that was asked for.
    pub any: bool,
}

/// Reads the answer to [`question`].
pub fn read(place: &str, asked: &Name, answer: &Message) -> Result<Found> {
    let plain = asked.to_ascii();
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain if answer.metadata.authoritative => return Ok(Found::default()),
        ResponseCode::Refused => {
            return Err(Error::new(Kind::Failed, format!("{place} refuses to answer for {plain}"))
                .hint("DNS_SERVER must be an authoritative server of the name's zone"));
        }
        ResponseCode::ServFail => {
            return Err(Error::new(Kind::Unreachable, format!("{place} failed on {plain}"))
                .because("SERVFAIL")
                .hint("the zone may not be loaded: look at the server's log"));
        }
        other => {
            return Err(Error::new(Kind::Failed, format!("{place} does not answer for {plain}"))
                .because(other));
        }
    }
    if !answer.metadata.authoritative {
        return Err(Error::new(Kind::Failed, format!("{place} is not authoritative for {plain}"))
            .hint("DNS_SERVER must be an authoritative server of the name's zone, no resolver"));
    }
    let mut found = Found::default();
    for record in answer.answers.iter().filter(|record| record.name.to_lowercase() == *asked) {
        match &record.data {
            RData::A(A(address)) => {
                found.addresses.push(*address);
                found.ttl_seconds =
                    Some(found.ttl_seconds.map_or(record.ttl, |ttl| ttl.min(record.ttl)));
                found.any = true;
            }
            RData::CNAME(target) => found.alias = Some(target.0.to_ascii()),
            _ => found.any = true,
        }
    }
    found.addresses.sort_unstable();
    found.addresses.dedup();
    Ok(found)
}

/// Reads the answer to [`replace`].
pub fn accepted(place: &str, zone: &Name, name: &Name, key: &str, answer: &Message) -> Result<()> {
    let (zone, name) = (zone.to_ascii(), name.to_ascii());
    let code = answer.metadata.response_code;
    let signature = answer.signature.as_ref().and_then(|tsig| tsig.data.error);
    let failed = |kind: Kind, what: String, hint: &str| {
        let cause = match signature {
            Some(error) => format!("{code} ({error:?})"),
            None => code.to_string(),
        };
        Err(Error::new(kind, what).because(cause).hint(hint))
    };
    match (code, signature) {
        (ResponseCode::NoError, _) => Ok(()),
        (_, Some(TsigError::BadKey)) => failed(
            Kind::Failed,
            format!("{place} does not know the key {key:?}"),
            "DNS_TSIG_NAME must be the key's name there, and its algorithm hmac-sha256",
        ),
        (_, Some(TsigError::BadSig | TsigError::BadTrunc)) => failed(
            Kind::Failed,
            format!("{place} does not accept our signature by the key {key:?}"),
            "the secret in DNS_TSIG_KEY is another one than the server's (base64, hmac-sha256)",
        ),
        (_, Some(TsigError::BadTime)) => failed(
            Kind::Failed,
            format!("{place} says that our clock is wrong"),
            "set the clocks of both machines right; five minutes is the limit",
        ),
        (ResponseCode::NotAuth, _) => failed(
            Kind::Failed,
            format!("{place} is not the primary server of {zone}"),
            "DNS_SERVER and DNS_ZONE must name the zone and its primary",
        ),
        (ResponseCode::Refused, _) => failed(
            Kind::Failed,
            format!("{place} refuses updates of {name} by the key {key:?}"),
            "allow it in the zone: update-policy or allow-update with that key",
        ),
        (ResponseCode::ServFail, _) => failed(
            Kind::Failed,
            format!("{place} could not make the update of {name}"),
            "look at the server's log; its zone folder must be writable for the journal",
        ),
        (ResponseCode::NotZone, _) => failed(
            Kind::Usage,
            format!("{name} does not lie in the zone {zone}"),
            "give a name of DNS_ZONE",
        ),
        (ResponseCode::NXRRSet | ResponseCode::YXRRSet | ResponseCode::YXDomain, _) => failed(
            Kind::Declined,
            format!("{name} was changed by somebody else at the same moment"),
            "look at it and try again; a name that only a wildcard answers for needs its own record",
        ),
        _ => failed(
            Kind::Failed,
            format!("{place} did not accept the update of {name}"),
            "look at the server's log",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: ResponseCode, authoritative: bool) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.authoritative = authoritative;
        message
    }

    #[test]
    fn an_update_names_what_must_be_there_and_is_read_back_alike() {
        let (zone, host) = (name("Mysite.com").unwrap(), name("test1.mysite.com.").unwrap());
        let (old, new) = (Ipv4Addr::new(127, 1, 1, 1), Ipv4Addr::new(127, 1, 1, 2));
        let bytes = replace(7, &zone, &host, &[old], &[new], 60).to_vec().unwrap();
        let read = Message::from_vec(&bytes).unwrap();
        assert_eq!(read.metadata.op_code, OpCode::Update);
        assert_eq!(read.queries[0].query_type(), RecordType::SOA);
        let classes: Vec<DNSClass> = read.answers.iter().map(|r| r.dns_class).collect();
        assert_eq!(classes, [DNSClass::IN, DNSClass::NONE]);
        let classes: Vec<DNSClass> = read.authorities.iter().map(|r| r.dns_class).collect();
        assert_eq!(classes, [DNSClass::ANY, DNSClass::IN]);
        assert_eq!(read.authorities[1].ttl, 60);
        // a name that is not there yet must still not be there
        let first = replace(7, &zone, &host, &[], &[new], 60);
        assert_eq!(first.answers[0].record_type(), RecordType::A);
        assert_eq!(first.answers[0].dns_class, DNSClass::NONE);
    }

    #[test]
    fn only_an_authoritative_answer_counts() {
        let host = name("a.mysite.com").unwrap();
        assert_eq!(
            read("dns", &host, &answer(ResponseCode::NXDomain, true)).unwrap(),
            Found::default()
        );
        for (code, authoritative) in [
            (ResponseCode::NXDomain, false),
            (ResponseCode::NoError, false),
            (ResponseCode::Refused, false),
            (ResponseCode::ServFail, false),
        ] {
            read("dns", &host, &answer(code, authoritative)).unwrap_err();
        }
    }

    #[test]
    fn addresses_are_sorted_and_other_names_are_not_ours() {
        let host = name("a.mysite.com").unwrap();
        let mut message = answer(ResponseCode::NoError, true);
        for (owner, last) in [("A.mysite.com.", 9), ("a.mysite.com.", 2), ("b.mysite.com.", 1)] {
            message.add_answer(Record::from_rdata(
                Name::from_ascii(owner).unwrap(),
                u32::from(last),
                RData::A(A(Ipv4Addr::new(127, 0, 0, last))),
            ));
        }
        let found = read("dns", &host, &message).unwrap();
        assert_eq!(found.addresses, [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 9)]);
        assert_eq!(found.ttl_seconds, Some(2));
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for bad in ["", "a b.com", "a\n.com", "$(x).com"] {
            assert_eq!(name(bad).unwrap_err().kind(), Kind::Usage);
        }
    }
}
