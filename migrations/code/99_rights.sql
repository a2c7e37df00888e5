-- Nothing here is for everybody: `pgaudit grant` gives each role the least it needs.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgaudit FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA pgaudit FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA pgaudit FROM PUBLIC;
