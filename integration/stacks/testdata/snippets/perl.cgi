#!/usr/bin/perl
use strict;
use warnings;
use Encode;
use JSON::PP;
use MIME::Base64;

my %read = (
    '/utf8' => sub {
        # SNIPPET utf8
        return { sub => $sub, name => decode("UTF-8", $name), address => $address };
    },
    '/percent' => sub {
        # SNIPPET percent
        return { sub => $sub, name => decode("UTF-8", $name), address => $address };
    },
    '/base64url' => sub {
        # SNIPPET base64url
        return { sub => $sub, name => decode("UTF-8", $name), address => $address };
    },
);
print "Content-Type: application/json\r\n\r\n", JSON::PP->new->utf8->encode($read{ $ENV{REQUEST_URI} }->());
