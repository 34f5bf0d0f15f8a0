//! Templates on file: immutable revisions, and which one is the newest.

use rs_contract::{Error, Expect, Kind, Result, Txn};
use rs_model::{Template, TemplateRef};
use serde::{Deserialize, Serialize};

use super::objects::{decode, encode};
use super::{Managed, keys};

/// The newest revision of a template.
#[derive(Serialize, Deserialize)]
struct Head {
    name: String,
    revision: u32,
    digest: String,
}

impl Managed {
    fn head(&self, name: &str) -> Result<Option<(u64, Head)>> {
        let Some(entry) = self.state.get(&keys::head(name))? else { return Ok(None) };
        Ok(Some((entry.version, decode(entry)?)))
    }

    pub(super) fn find_template(&self, reference: &TemplateRef) -> Result<Template> {
        let name = &reference.name;
        let Some((_, head)) = self.head(name)? else {
            let known: Vec<String> = self.template_names()?;
            return Err(Error::new(Kind::NotFound, format!("no template is called {name:?}"))
                .hint(if known.is_empty() {
                    "rs-server apply FILE files the templates that the site file names".to_owned()
                } else {
                    format!("there are {}", known.join(", "))
                }));
        };
        let revision = reference.revision.unwrap_or(head.revision);
        match self.state.get(&keys::template(name, revision))? {
            Some(entry) => decode(entry),
            None => Err(Error::new(
                Kind::NotFound,
                format!("template {name:?} has no revision {revision}"),
            )
            .hint(format!("its revisions are 1 to {}", head.revision))),
        }
    }

    fn template_names(&self) -> Result<Vec<String>> {
        let heads = self.state.list(keys::HEADS)?;
        let heads = heads.into_iter().map(decode).collect::<Result<Vec<Head>>>()?;
        Ok(heads.into_iter().map(|head| format!("{:?}", head.name)).collect())
    }

    pub(super) fn newest_templates(&self) -> Result<Vec<Template>> {
        let heads = self.state.list(keys::HEADS)?;
        heads
            .into_iter()
            .map(|entry| {
                let head: Head = decode(entry)?;
                self.find_template(&TemplateRef { name: head.name, revision: Some(head.revision) })
            })
            .collect()
    }

    pub(super) fn file_template(&self, template: &Template) -> Result<TemplateRef> {
        rs_model::name::object("template", &template.name)?;
        let digest = match template.digest.as_str() {
            "" => super::templates::digest(template),
            given => given.to_owned(),
        };
        loop {
            let head = self.head(&template.name)?;
            if let Some((_, head)) = &head
                && head.digest == digest
            {
                return Ok(TemplateRef {
                    name: template.name.clone(),
                    revision: Some(head.revision),
                });
            }
            let revision = head.as_ref().map_or(0, |(_, head)| head.revision) + 1;
            let filed = Template { revision, digest: digest.clone(), ..template.clone() };
            let key = keys::head(&template.name);
            let newest = Head { name: template.name.clone(), revision, digest: digest.clone() };
            let txn = Txn {
                expect: vec![match &head {
                    Some((version, _)) => Expect::Version(key.clone(), *version),
                    None => Expect::Absent(key.clone()),
                }],
                put: vec![
                    (key, encode(&newest)?),
                    (keys::template(&template.name, revision), encode(&filed)?),
                ],
                delete: Vec::new(),
            };
            match self.state.commit(&txn) {
                Ok(()) => return Ok(filed.reference()),
                // somebody else filed a revision in the meantime: look again
                Err(e) if e.is_race() => {}
                Err(e) => return Err(e),
            }
        }
    }
}
