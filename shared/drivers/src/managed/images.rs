//! MultiCloudImages of a template: read as strictly as the rest, and otherwise without a meaning here, since a
//! managed server is not made from an image.

use super::yaml::{Faults, Fields, Node, NodeKind, Source};

/// Checks the entries of `MultiCloudImages`.
pub(crate) fn check(items: &[Node], at: &Source, faults: &mut Faults) {
    const KEYS: &[&str] =
        &["Href", "Name", "Description", "Revision", "Publisher", "Tags", "Settings"];
    for item in items {
        if let NodeKind::Scalar { text, .. } = &item.kind
            && !text.is_empty()
            && !item.is_null()
        {
            continue; // the path of a file that holds one image: never opened
        }
        let fields = Fields::of(item, at, "the image", KEYS, faults);
        for key in ["Href", "Name", "Description", "Publisher"] {
            fields.text(key, faults);
        }
        fields.texts("Tags", faults);
        if let Some(node) = fields.node("Revision") {
            revision(node, at, faults);
        }
        for setting in fields.list("Settings", faults) {
            const KEYS: &[&str] = &["Cloud", "Instance Type", "Image", "User Data"];
            let fields = Fields::of(setting, at, "the image setting", KEYS, faults);
            for key in ["Cloud", "Instance Type", "Image"] {
                if fields.text(key, faults).is_none() {
                    let what = format!("the image setting has no {key:?}");
                    faults.add(at, setting.line, &what, "write Cloud, Instance Type and Image");
                }
            }
        }
        if matches!(item.kind, NodeKind::Map(_))
            && ["Href", "Settings", "Publisher", "Name"].iter().all(|k| fields.node(k).is_none())
        {
            let hint = "write Href, Settings, Publisher with Name, or Name";
            faults.add(at, item.line, "the image says nowhere which one it is", hint);
        }
    }
}

/// Checks a `Revision`: a whole number, `latest` or `head`.
pub(crate) fn revision(node: &Node, at: &Source, faults: &mut Faults) {
    let good = node.text().is_some_and(|text| {
        text.is_empty()
            || text.eq_ignore_ascii_case("latest")
            || text.eq_ignore_ascii_case("head")
            || text.parse::<u32>().is_ok()
    });
    if !good {
        let what = format!("\"Revision\" is {}", node.is());
        faults.add(at, node.line, &what, "write a whole number, latest or head");
    }
}
