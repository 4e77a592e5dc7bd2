#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# make-credentials.sh DIRECTORY: credentials for tests of TLS, of certtool and psktool, valid for two days.
#
#   x509/            for the server
#   x509-client/     for a reader that is to be let in
#   x509-other/      for a reader with a certificate of another authority
#   x509-server/     for a reader who shows a certificate that is for servers
#   x509-expired/    for a reader whose certificate was valid once
#   psk/, psk-other/ keys of user "alice"
set -euo pipefail
cd "$1"
quiet () { "$@" 2> certtool.log || { cat certtool.log >&2; return 1; }; }

# authority NAME
authority ()
{
  quiet certtool --generate-privkey --ecdsa --outfile "$1-key.pem"
  printf '%s\n' "cn = $1" ca cert_signing_key crl_signing_key 'expiration_days = 2' > template
  quiet certtool --generate-self-signed --load-privkey "$1-key.pem" --template template --outfile "$1-cert.pem"
}

# certificate AUTHORITY DIRECTORY NAME LINE...: NAME-cert.pem and NAME-key.pem
certificate ()
{
  local authority=$1 directory=$2 name=$3
  shift 3
  mkdir -p "$directory"
  quiet certtool --generate-privkey --ecdsa --outfile "$directory/$name-key.pem"
  printf '%s\n' "cn = $name" signing_key encryption_key "$@" > template
  quiet certtool --generate-certificate --load-privkey "$directory/$name-key.pem" --template template \
    --load-ca-certificate "$authority-cert.pem" --load-ca-privkey "$authority-key.pem" \
    --outfile "$directory/$name-cert.pem"
  cp good-cert.pem "$directory/ca-cert.pem"
}

authority good
authority other
certificate good x509 server tls_www_server 'dns_name = localhost' 'ip_address = 127.0.0.1' 'expiration_days = 2'
certificate good x509-client client tls_www_client 'expiration_days = 2'
certificate other x509-other client tls_www_client 'expiration_days = 2'
certificate good x509-server client tls_www_server 'expiration_days = 2'
certificate good x509-expired client tls_www_client 'activation_date = "2020-01-01 00:00:00"' \
  'expiration_date = "2020-01-02 00:00:00"'
mkdir psk psk-other
quiet psktool -u alice -p psk/keys.psk > /dev/null
quiet psktool -u alice -p psk-other/keys.psk > /dev/null
rm template certtool.log
