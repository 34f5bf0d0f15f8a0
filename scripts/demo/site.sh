#!/usr/bin/env bash
# site.sh: print the site file of the guide's production deployment, as small as it can be and still real: two
# balancers, two application servers, an array, a master, a slave that serves reads, DNS, a repository.
#
#   site.sh --root DIR --addresses 127.X.Y.0/24 --path PATH --releases DIR --first-data FILE
#           [--deployment production] [--zone mysite.test] [--pool www] [--schema shop] [--user nobody]
#           [--lb-port 8080] [--app-port 8000] [--db-port 3306] [--dns-port 5300] [--svn-port 3690]
#           [--application shop] [--release 1.0] [--repository ADDRESS-OF-ONE] [--alerts-hook COMMAND]
#           [--backups DIR] [--dns ADDRESS] [--svn ADDRESS] [--engine mariadb|mysql]
#
# --dns and --svn are the addresses of the DNS server and the repository once they are launched: what others must know of
# them is an input of the deployment, so the file is printed and applied a second time then. With --repository the
# releases come from there (git+URL#TAG for instance).
set -euo pipefail

die() {
  printf 'site: %s\n' "$1" >&2
  exit 2
}
root='' addresses='' path='' releases='' first_data='' user='' dns='' svn='' repository='' alerts_hook='' backups='' engine=mariadb
deployment=production zone=mysite.test pool=www schema=shop application=shop release=1.0
lb_port=8080 app_port=8000 db_port=3306 dns_port=5300 svn_port=3690
while (($#)); do
  case $1 in
  --root | --addresses | --path | --releases | --first-data | --user | --backups | --dns | --svn | --engine | --repository | --alerts-hook | \
    --deployment | --zone | --pool | --schema | --application | --release | \
    --lb-port | --app-port | --db-port | --dns-port | --svn-port)
    (($# > 1)) || die "$1 needs a value"
    name=${1#--}
    printf -v "${name//-/_}" '%s' "$2"
    shift 2
    ;;
  *) die "no option $1" ;;
  esac
done
for name in root addresses path releases first_data; do
  [[ -n ${!name} ]] || die "--${name//_/-} is needed"
done
case $engine in
mariadb) backup_driver=mariabackup application_tls=off ;;
mysql) backup_driver=mysqlclone application_tls=required ;;
*) die "--engine is $engine, not mariadb or mysql" ;;
esac
templates=$(cd "${BASH_SOURCE[0]%/*}/../templates" && pwd -P)

# A YAML text between single quotes, whatever is in it.
q() { printf "'%s'" "${1//\'/\'\'}"; }

cat <<SITE
# Printed by scripts/demo/site.sh.
Deployment: $(q "$deployment")
Description: The guide's production site on loopback addresses.
Machines:
  Local:
    Root: $(q "$root")
    Addresses: $addresses
    Path: $(q "$path")
${user:+    User: $user}
Inputs:
  LB_APPLISTENER_NAME: text:$pool
  LB_HOSTNAME: text:$pool.$zone
  LB_BIND_PORT: text:$lb_port
  LB_BYPASS_SECRET: cred:LB_BYPASS
  HEALTH_CHECK_URI: text:/health
  APPLICATION_PORT: text:$app_port
  APPLICATION: text:$application-$release
  DB_HOST_NAME: text:master-db.$zone
  DB_READ_HOST_NAME: text:slave-db.$zone
  DB_PORT: text:$db_port
  DB_SCHEMA_NAME: text:$schema
  DB_LINEAGE_NAME: $(q "text:$deployment")
  DBADMIN_USER: text:dba
  DBADMIN_PASSWORD: cred:DBADMIN_PASSWORD
  DBREPLICATION_USER: text:replication
  DBREPLICATION_PASSWORD: cred:DBREPLICATION_PASSWORD
  DBMIGRATION_USER: text:migrator
  DBMIGRATION_PASSWORD: cred:DBMIGRATION_PASSWORD
  DBAPPLICATION_USER: text:application
  DBAPPLICATION_PASSWORD: cred:DBAPPLICATION_PASSWORD
  DBAPPLICATION_TLS: text:$application_tls
  DBHEARTBEAT_USER: text:heartbeat
  DB_HEARTBEAT_TABLES: text:heartbeat.beat
  DBHEARTBEAT_PASSWORD: cred:DBHEARTBEAT_PASSWORD
  BACKUP_DIR: $(q "text:${backups:-$root-backups}")
  BACKUP_DRIVER: text:$backup_driver
  BACKUP_EVERY_MINUTES: text:60
  DB_BACKUP_KEEP: text:5
  PROBE_WRITE_PATH: text:/orders
  PROBE_ROWS_QUERY: $(q "text:SELECT number FROM $schema.orders WHERE number LIKE '{prefix}%'")
  DNS_DRIVER: text:rfc2136
  DNS_ZONE: text:$zone
  DNS_BIND_PORT: text:$dns_port
  DNS_TSIG_NAME: text:rs-tools
  DNS_TSIG_KEY: cred:DNS_TSIG_KEY
  REPOSITORY_PORT: text:$svn_port
SITE
if [[ -n $dns ]]; then
  echo "  DNS_SERVER: text:$dns:$dns_port"
fi
if [[ -n $repository ]]; then
  echo "  SVN_APP_REPOSITORY: $(q "text:$repository")"
elif [[ -n $svn ]]; then
  echo "  SVN_APP_REPOSITORY: text:svn://$svn:$svn_port/$application/releases/$release"
fi
if [[ -n $alerts_hook ]]; then
  echo "  ALERTS_HOOK: $(q "text:$alerts_hook")"
fi
cat <<SITE
Servers:
  - Name: DNS Server
    Template: $(q "$templates/dns.yml")
    Tags: ["dns:active=true"]
  - Name: Repository
    Template: $(q "$templates/repository.yml")
    Tags: ["repository:active=true"]
    Inputs:
      REPOSITORY_NAME: text:$application
      REPOSITORY_SOURCE: $(q "text:$releases")
  - Name: Master DB
    Template: $(q "$templates/database.yml")
    Tags: [$(q "database:master_active=$deployment")]
    Inputs:
      DB_CREATE: text:true
      DB_SCHEMA_FILE: $(q "text:$first_data")
  - Name: Slave DB
    Template: $(q "$templates/database.yml")
    Tags: [$(q "database:slave_active=$deployment"), "database:reads=true"]
  - Name: Load Balancer-1
    Template: $(q "$templates/load-balancer.yml")
    Tags: ["load_balancer:active_$pool=true"]
  - Name: Load Balancer-2
    Template: $(q "$templates/load-balancer.yml")
    Tags: ["load_balancer:active_$pool=true"]
  - Name: App Server-1
    Template: $(q "$templates/application.yml")
    Tags: ["application:active_$pool=true"]
  - Name: App Server-2
    Template: $(q "$templates/application.yml")
    Tags: ["application:active_$pool=true"]
Arrays:
  - Name: array-1
    Template: $(q "$templates/application.yml")
    Minimum: 2
    Maximum: 4
    Enabled: true
    Tags: ["application:active_$pool=true"]
    Inputs:
      WORKERS_AT_BOOT: text:false
SITE
