"""What the tests share: private database servers, empty databases and the rule about skipped tests."""
