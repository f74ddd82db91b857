//! Paths from a leaf to a pinned root.
//!
//! What lives here: the search for a path, with a bound on its work.
//! What must never live here: what the leaf says.
//! Who calls it: the kinds whose signers have certificates.

use crate::Refusal;
use crate::certificate::Certificate;
use crate::roots::Roots;

/// The longest real path (AWS) has four certificates between leaf and root; nothing needs more than this beside the leaf.
pub(crate) const CERTIFICATES_MAX: usize = 12;

/// Walks from the leaf to one of the roots by names and signatures, each certificate within its time, allowed to certify, and on none of
/// the pinned lists of revoked ones. Yields the path, the leaf first and the root last.
pub(crate) fn to_root<'a>(
    leaf: &'a Certificate,
    others: &'a [Certificate],
    roots: &'a Roots,
    now: u64,
    what: &'static str,
) -> Result<Vec<&'a Certificate>, Refusal> {
    if others.len() > CERTIFICATES_MAX {
        return Err(Refusal::TooLarge {
            what: "certificates of the evidence",
            max: CERTIFICATES_MAX,
        });
    }
    leaf.in_time(now, what)?;
    let mut path = vec![leaf];
    // A path cannot be longer than what there is.
    for below in 0..=others.len() {
        let last = path[below];
        let issued = |one: &&Certificate| {
            one.subject == last.issuer && one.may_certify(below) && one.signed(last)
        };
        if let Some(root) = roots.certificates.iter().find(issued) {
            root.in_time(now, "a pinned root")?;
            path.push(root);
            spared(&path, roots, now, what)?;
            return Ok(path);
        }
        let unused = |one: &&Certificate| !path.iter().any(|used| used.is(one));
        let Some(next) = others.iter().filter(unused).find(issued) else {
            break;
        };
        next.in_time(now, "a certificate between the signer and the root")?;
        path.push(next);
    }
    Err(Refusal::Untrusted { what })
}

/// Every pinned list of an authority on the path must be of this time and spare what that authority has certified there.
fn spared(
    path: &[&Certificate],
    roots: &Roots,
    now: u64,
    what: &'static str,
) -> Result<(), Refusal> {
    for pair in path.windows(2) {
        let [certificate, issuer] = pair else {
            continue;
        };
        for list in roots.lists.iter().filter(|list| list.is_of(issuer)) {
            list.spare(certificate, issuer, now, what)?;
        }
    }
    Ok(())
}

/// Reads certificates of evidence: the leaf, which comes first, and the others.
pub(crate) fn leaf_first(
    certificates: &[Vec<u8>],
    what: &'static str,
) -> Result<(Certificate, Vec<Certificate>), Refusal> {
    let (leaf, others) = certificates.split_first().ok_or(Refusal::Malformed {
        what,
        why: "it is not there; certificates come with the evidence, the signer's first",
    })?;
    if others.len() > CERTIFICATES_MAX {
        return Err(Refusal::TooLarge {
            what: "certificates of the evidence",
            max: CERTIFICATES_MAX,
        });
    }
    let read =
        |der: &Vec<u8>| Certificate::parse(der, "a certificate between the signer and the root");
    Ok((
        Certificate::parse(leaf, what)?,
        others.iter().map(read).collect::<Result<_, _>>()?,
    ))
}
