//! The balancers of a pool with their page.

use std::ops::Deref;

use rs_cli::{Balancers, Context, Meant, Subject, Subjects};
use rs_contract::{Cloud, Error, Kind, PageSwitch, Result};
use rs_drivers::http::{Probe, probes};
use rs_drivers::look::way;
use rs_drivers::outside;
use rs_drivers::settings::Settings;
use rs_model::member::Page;
use rs_model::{Server, pool};

/// One balancer.
pub struct Lb {
    /// Its server.
    pub server: Server,
    /// Its inputs.
    pub settings: Settings,
    /// Its page.
    pub driver: Box<dyn PageSwitch>,
}

/// A pool with its balancers.
pub struct Pool(Balancers<Lb>);

impl Deref for Pool {
    type Target = Balancers<Lb>;

    fn deref(&self) -> &Balancers<Lb> {
        &self.0
    }
}

/// The pool that is named, or the only one that a tag names, which is said: nobody named it.
pub fn choose(
    cx: &Context,
    cloud: &dyn Cloud,
    deployment: &str,
    named: Option<&str>,
) -> Result<String> {
    if let Some(name) = named {
        rs_model::name::pool(name)?;
        return Ok(name.to_owned());
    }
    let servers = cloud.servers(deployment)?;
    let known: Vec<String> = pool::pools(&servers).into_iter().collect();
    match known.as_slice() {
        [one] => {
            cx.warn(&format!("the pool is {one:?}, the only one of {deployment:?}"));
            Ok(one.clone())
        }
        [] => {
            Err(Error::new(Kind::NotFound, format!("no server of {deployment:?} balances a pool"))
                .hint("tag the balancers load_balancer:active_POOL=true"))
        }
        several => Err(Error::new(Kind::Usage, "there are several pools")
            .hint(format!("--pool with one of {}", several.join(", ")))),
    }
}

impl Pool {
    /// Opens the balancers of the pool that are meant. For a page none may be in doubt: one that lacks it lets users in.
    pub fn open(
        cx: &Context,
        cloud: &dyn Cloud,
        deployment: &str,
        name: &str,
        meant: Meant<'_>,
    ) -> Result<Pool> {
        Balancers::open(cx, cloud, deployment, name, meant, |server, servers| {
            let (settings, channel) = way(cloud, deployment, server, servers)?;
            let driver = rs_drivers::page(server, &settings, channel)?;
            Ok(Lb { server: server.clone(), settings, driver })
        })
        .map(Pool)
    }

    /// The balancers as subjects.
    pub fn subjects(&self) -> Subjects {
        let items = self
            .lbs
            .iter()
            .map(|lb| Subject::server(&self.deployment, lb.server.clone()))
            .collect();
        Subjects { items }
    }

    /// The page of every balancer that answers, with whom it is of.
    pub fn answers(mut self, cx: &Context) -> (Balancers<Lb>, Vec<Page>) {
        let pool = self.name.clone();
        let pages = self.0.read(cx, |lb| lb.page(&pool));
        (self.0, pages)
    }

    /// The page of every balancer, as told and as seen.
    pub fn pages(&self) -> Result<Vec<Page>> {
        self.on_all(|lb| lb.page(&self.name)).into_iter().collect()
    }
}

impl Lb {
    /// A request to each address where it answers clients, besides those of `LB_PROBE_URL`.
    pub fn probes(&self, pool: &str, path: &str) -> Result<Vec<Probe>> {
        probes(self.driver.as_ref(), &self.settings, pool, path)
    }

    /// What the page must spare: the balancer's own health and status pages, and whoever has the bypass.
    pub fn spared(&self, pool: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut ask = |probe: Probe, what: &str| {
            let url = probe.url();
            match probe.send() {
                Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some() => {
                    found.push(format!("{what} is hidden by the page: {url}"));
                }
                Ok(_) => {}
                Err(e) => found.push(format!("{what}: {e}")),
            }
        };
        for (input, what) in
            [("LB_MONITOR_URI", "the health page"), ("LB_STATUS_URI", "the status page")]
        {
            if let Some(path) = self.settings.get(input)?.filter(|path| !path.is_empty()) {
                self.probes(pool, &path)?.into_iter().for_each(|probe| ask(probe, what));
            }
        }
        if !self.settings.values.contains_key("LB_BYPASS_SECRET") {
            return Ok(found);
        }
        let path = self.settings.or("HEALTH_CHECK_URI", "/health")?;
        for probe in self.probes(pool, &path)? {
            ask(probe.bypass(&self.settings)?, "the bypass");
        }
        Ok(found)
    }

    /// As told and as seen.
    pub fn page(&self, pool: &str) -> Result<Page> {
        outside::page(self.driver.as_ref(), &self.settings, &self.server.name, pool)
    }
}
