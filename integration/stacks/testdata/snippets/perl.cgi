#!/usr/bin/perl
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;

my %read = (
    '/utf8' => sub {
        # SNIPPET utf8
        return { sub => $sub, name => $name };
    },
    '/percent' => sub {
        # SNIPPET percent
        return { sub => $sub, name => $name };
    },
    '/base64url' => sub {
        # SNIPPET base64url
        return { sub => $sub, name => $name };
    },
);
print "Content-Type: application/json\r\n\r\n", JSON::PP->new->encode($read{ $ENV{REQUEST_URI} }->());
