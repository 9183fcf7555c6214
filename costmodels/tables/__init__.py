"""Look-up tables of the shipped accelerators (CSV, ``hwdse.table/1``). Sources and licences stand in each file and in NOTICE."""
