//! A deployment of the world as a site file that changes nothing when it is applied.

use std::collections::BTreeSet;

use rs_contract::{Cloud, Error, Kind, Result};
use rs_model::{Inputs, TemplateRef};
use serde_json::Value as Json;

use super::site::{DESCRIPTION, MACHINES};
use super::yaml::scalar;

/// Writes the file. Instances of arrays are not in it (they are launched), nor are the tags of a run.
pub fn print(cloud: &dyn Cloud, deployment: &str) -> Result<String> {
    let found =
        cloud.deployments()?.into_iter().find(|d| d.name == deployment).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("no deployment is called {deployment:?}"))
                .hint("rs-server list --deployments shows the names")
        })?;
    let mut out = String::new();
    out.push_str("# A deployment as `rs-server apply` reads it. Templates are named by revision: they are in the\n");
    out.push_str("# control plane; to bring them elsewhere, name their files under Templates.\n");
    out.push_str(&format!("Deployment: {}\n", scalar(&found.name)));
    if let Some(text) = found.later.get(DESCRIPTION).and_then(Json::as_str) {
        out.push_str(&format!("Description: {}\n", scalar(text)));
    }
    if let Some(machines) = found.later.get(MACHINES).and_then(Json::as_object) {
        out.push_str("Machines:\n");
        for (kind, body) in machines {
            out.push_str(&format!("  {}:", scalar(kind)));
            match body.as_object().filter(|body| !body.is_empty()) {
                None => out.push_str(" {}\n"),
                Some(body) => {
                    out.push('\n');
                    for (key, value) in body {
                        out.push_str(&format!("    {}: {}\n", scalar(key), plain(value)));
                    }
                }
            }
        }
    }
    inputs(&mut out, "", &found.inputs);
    let servers = cloud.servers(deployment)?;
    if servers.iter().any(|s| s.array.is_none()) {
        out.push_str("Servers:\n");
    }
    for server in servers.iter().filter(|s| s.array.is_none()) {
        out.push_str(&format!("- Name: {}\n", scalar(&server.name)));
        template(&mut out, server.template.as_ref());
        if let Some(address) = server.address.filter(|_| server.foreign) {
            out.push_str(&format!("  Address: {}\n", scalar(&address.to_string())));
        }
        if server.locked {
            out.push_str("  Locked: true\n");
        }
        inputs(&mut out, "  ", &server.next);
        tags(&mut out, &server.tags);
    }
    let arrays = cloud.arrays(deployment)?;
    if !arrays.is_empty() {
        out.push_str("Arrays:\n");
    }
    for array in &arrays {
        out.push_str(&format!("- Name: {}\n", scalar(&array.name)));
        template(&mut out, array.template.as_ref());
        out.push_str(&format!("  Minimum: {}\n  Maximum: {}\n", array.minimum, array.maximum));
        out.push_str(&format!("  Enabled: {}\n", array.enabled));
        inputs(&mut out, "  ", &array.next);
        tags(&mut out, &array.tags);
    }
    Ok(out)
}

fn plain(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(|item| quoted(&plain(item))).collect::<Vec<_>>().join(", ")
            )
        }
        Json::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// In a flow list commas end a plain text.
fn quoted(text: &str) -> String {
    if text.starts_with('"') { text.to_owned() } else { format!("\"{text}\"") }
}

fn template(out: &mut String, template: Option<&TemplateRef>) {
    if let Some(template) = template {
        out.push_str(&format!("  Template: {}\n", scalar(&template.to_string())));
    }
}

fn inputs(out: &mut String, indent: &str, inputs: &Inputs) {
    if inputs.is_empty() {
        return;
    }
    out.push_str(&format!("{indent}Inputs:\n"));
    for (name, value) in inputs {
        out.push_str(&format!("{indent}  {}: {}\n", scalar(name), scalar(&value.to_string())));
    }
}

fn tags(out: &mut String, tags: &BTreeSet<String>) {
    let lasting: Vec<&String> = tags.iter().filter(|t| !t.starts_with("rs_upgrade:")).collect();
    if lasting.is_empty() {
        return;
    }
    out.push_str("  Tags:\n");
    for tag in lasting {
        out.push_str(&format!("  - {}\n", scalar(tag)));
    }
}
