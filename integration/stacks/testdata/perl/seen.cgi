#!/usr/bin/perl
# See README.md.
use strict;
use warnings;
use JSON::PP;

my %headers = map { $_ => $ENV{$_} } grep { /^HTTP_/ } keys %ENV;
1 while read STDIN, my $body, 8192; # Apache waits for 5 seconds with a body that nobody reads
print "Content-Type: application/json\r\n";
print "Set-Cookie: sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax\r\n"
  if ($ENV{HTTP_COOKIE} // '') !~ /sid=/;
print "\r\n";

# Without ->utf8, JSON::PP leaves bytes as they are, and so does print.
print JSON::PP->new->encode({
    greeting => 'Så ' . ($ENV{HTTP_X_VIPPS_NAME} // ''),
    sub      => $ENV{HTTP_X_VIPPS_SUB},
    cookie   => $ENV{HTTP_COOKIE},
    headers  => \%headers,
});
